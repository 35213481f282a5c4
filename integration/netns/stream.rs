//! A seeded stream of bytes of which no two blocks are equal, cheap to make and hashed at both ends.

use sha2::{Digest, Sha256};

/// Bytes that are made at a time.
pub const CHUNK: usize = 64 * 1024;

/// A pseudo-random number generator (xorshift64*): seeded, not secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }
}

/// The stream: chunks of a random block, each stamped with its number.
pub struct Stream {
    block: Vec<u8>,
    chunk: u64,
    left: u64,
}

impl Stream {
    pub fn new(seed: u64, len: u64) -> Self {
        Self { block: Random::new(seed).bytes(16 * CHUNK), chunk: 0, left: len }
    }

    /// Gives the next chunk; empty at the end.
    pub fn next_chunk(&mut self) -> &[u8] {
        let start = (self.chunk as usize % 16) * CHUNK;
        let len = self.left.min(CHUNK as u64) as usize;
        self.block[start..start + 8].copy_from_slice(&self.chunk.to_le_bytes());
        self.chunk += 1;
        self.left -= len as u64;
        &self.block[start..start + len]
    }
}

/// A SHA-256 of what has passed.
pub fn hasher() -> Sha256 {
    Sha256::new()
}

/// Gives a hash as users write it.
pub fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
