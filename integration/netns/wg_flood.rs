//! What floods of the WireGuard port are made of.

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};

use crate::stream::Random;
use crate::wg_crowd::server_key;

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Datagrams of all types and lengths that mean nothing.
    Garbage,
    /// Initiations with the right first mac, and nothing else that is right.
    Initiations,
}

impl Kind {
    /// Makes a message.
    pub fn message(self, random: &mut Random) -> Vec<u8> {
        match self {
            Self::Garbage => garbage(random),
            Self::Initiations => initiation(random),
        }
    }
}

/// Every fourth looks like data for somebody, every other fourth like a handshake.
fn garbage(random: &mut Random) -> Vec<u8> {
    let len = match random.next() % 4 {
        0 => 32 + random.next() as usize % 1400,
        1 => [148, 92, 64][random.next() as usize % 3],
        _ => 1 + random.next() as usize % 200,
    };
    let mut message = random.bytes(len);
    let kind = match len {
        148 => 1,
        92 => 2,
        64 => 3,
        _ => 4,
    };
    if len >= 32 && random.next().is_multiple_of(2) {
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    }
    message
}

/// White paper, section 5.4.2 and 5.4.4: who sends it knows the daemon's public key.
fn initiation(random: &mut Random) -> Vec<u8> {
    let mut message = random.bytes(148);
    message[..4].copy_from_slice(&[1, 0, 0, 0]);
    let key = Blake2s256::new().chain_update(b"mac1----").chain_update(server_key().as_bytes());
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(&key.finalize()).unwrap();
    Mac::update(&mut mac, &message[..116]);
    let mac: [u8; 16] = mac.finalize_fixed().into();
    message[116..132].copy_from_slice(&mac);
    message
}
