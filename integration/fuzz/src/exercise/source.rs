//! Decisions, taken from the fuzzer's bytes.

/// A stream of decisions.
///
/// The input's first eight bytes seed a generator that goes on where the rest of the input ends:
/// a short input is a whole story too, and a change late in a long one changes nothing before it.
pub struct Source<'a> {
    rest: &'a [u8],
    state: u64,
}

impl<'a> Source<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        let (seed, rest) = input.split_at(input.len().min(8));
        let mut bytes = [0; 8];
        bytes[..seed.len()].copy_from_slice(seed);
        Self { rest, state: u64::from_le_bytes(bytes) }
    }

    pub fn byte(&mut self) -> u8 {
        if let Some((first, rest)) = self.rest.split_first() {
            self.rest = rest;
            return *first;
        }
        self.generated() as u8
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A number below `end`; zero for zero.
    pub fn below(&mut self, end: usize) -> usize {
        match end {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % end,
            _ => self.u32() as usize % end,
        }
    }

    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in one of `n` cases, not if the input is zeros.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Noise that takes nothing from the input but its seed.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.state ^= u64::from(self.byte());
        for chunk in bytes.chunks_mut(8) {
            let word = self.generated().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// The next output of splitmix64.
    fn generated(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
