//! Sums of words, in the widest vectors that the processor has.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_mask_storeu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_srli_epi64, _mm512_storeu_si512,
};
use std::ops::Range;

/// Below this many bytes the choice costs more than wide vectors save.
const WIDE_MIN: usize = 256;

/// Sums the 32-bit words of `bytes` in the machine's byte order; the bytes of an unfinished last
/// word are its first. Meant for at most 64 KiB: the sum cannot overflow then.
#[inline]
pub fn sum_words(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WIDE_MIN {
        if std::arch::is_x86_feature_detected!("avx512bw") {
            // SAFETY: the processor has AVX-512 BW, and with it AVX-512 F, as was asked just before.
            return unsafe { sum_words_avx512(bytes) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was asked just before.
            return unsafe { sum_words_avx2(bytes) };
        }
    }
    sum_lanes(bytes)
}

/// Moves a part of `bytes` to the front, or leaves it where it is, and gives what [`sum_words`]
/// gives of it: the bytes pass through the processor once.
///
/// # Panics
///
/// Panics if the part does not lie in `bytes`, or begins before `to`.
#[inline]
pub fn move_words(bytes: &mut [u8], part: Range<usize>, to: usize) -> u64 {
    assert!(to <= part.start && part.end <= bytes.len(), "the part lies in the bytes, behind");
    #[cfg(target_arch = "x86_64")]
    if part.len() >= WIDE_MIN && std::arch::is_x86_feature_detected!("avx512bw") {
        // SAFETY: the processor has AVX-512 BW, and with it AVX-512 F, as was asked just before.
        return unsafe { move_words_avx512(&mut bytes[to..part.end], part.start - to) };
    }
    let len = part.len();
    bytes.copy_within(part, to);
    sum_words(&bytes[to..to + len])
}

/// Eight lanes of 64 bits for each half of a double word, twice, so that no addition waits for the
/// one before.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Lanes([[__m512i; 2]; 2]);

#[cfg(target_arch = "x86_64")]
impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new() -> Self {
        Self([[_mm512_setzero_si512(); 2]; 2])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn add(&mut self, index: usize, words: __m512i) {
        let lanes = &mut self.0[index];
        let low_half = _mm512_set1_epi64(0xffff_ffff);
        lanes[0] = _mm512_add_epi64(lanes[0], _mm512_and_si512(words, low_half));
        lanes[1] = _mm512_add_epi64(lanes[1], _mm512_srli_epi64::<32>(words));
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn sum(self) -> u64 {
        let [[a, b], [c, d]] = self.0;
        let all = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
        _mm512_reduce_add_epi64(all) as u64
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn sum_words_avx512(bytes: &[u8]) -> u64 {
    // SAFETY: the array has the 64 bytes that are read, from any address.
    let load = |block: &[u8; 64]| unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let mut lanes = Lanes::new();
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (pairs, last) = blocks.as_chunks::<2>();
    for [first, second] in pairs {
        lanes.add(0, load(first));
        lanes.add(1, load(second));
    }
    for block in last {
        lanes.add(0, load(block));
    }
    let mask = (1_u64 << rest.len()) - 1;
    // SAFETY: only the bytes that the mask names are read, and `rest` has those.
    lanes.add(1, unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) });
    lanes.sum()
}

/// Moves all but the first `by` bytes to the front, and sums them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn move_words_avx512(bytes: &mut [u8], by: usize) -> u64 {
    let len = bytes.len().saturating_sub(by);
    let to = bytes.as_mut_ptr();
    let mut lanes = Lanes::new();
    let mut at = 0;
    // SAFETY: what is read lies in the last `len` bytes, which are `by` behind the front, and what
    // is written in the first. Nothing is overwritten before it was read: what is written ends no
    // later than what was read last. Both pointers come from one, so that neither claims to be alone.
    unsafe {
        let from = to.add(by.min(bytes.len())).cast_const();
        while at + 128 <= len {
            let first = _mm512_loadu_si512(from.add(at).cast());
            let second = _mm512_loadu_si512(from.add(at + 64).cast());
            _mm512_storeu_si512(to.add(at).cast(), first);
            _mm512_storeu_si512(to.add(at + 64).cast(), second);
            lanes.add(0, first);
            lanes.add(1, second);
            at += 128;
        }
        while at < len {
            let mask = u64::MAX >> 64_usize.saturating_sub(len - at);
            let words = _mm512_maskz_loadu_epi8(mask, from.add(at).cast());
            _mm512_mask_storeu_epi8(to.add(at).cast(), mask, words);
            lanes.add(0, words);
            at += 64;
        }
    }
    lanes.sum()
}

/// A flat loop: with it the compiler loads whole vectors, which the lanes below keep it from.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_words_avx2(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = 0;
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum + sum_lanes(rest)
}

/// Eight lanes of 64 bits that take words of 32: the compiler makes vectors of them.
#[inline(always)]
fn sum_lanes(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let mut lanes = [0u64; 8];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            let word = u64::from_ne_bytes(*word);
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    let mut sum: u64 = lanes.iter().sum();
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_ne_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word at a time.
    fn naive(bytes: &[u8]) -> u64 {
        let word = |chunk: &[u8]| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from(u32::from_ne_bytes(word))
        };
        bytes.chunks(4).map(word).sum()
    }

    #[test]
    fn wide_and_narrow_sums_are_what_one_word_at_a_time_gives() {
        let bytes: Vec<u8> =
            (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let lens = (0..600).chain([1399, 1400, 4096, 65_535, 65_536]);
        for len in lens {
            let bytes = &bytes[len % 7..][..len];
            assert_eq!(sum_words(bytes), naive(bytes), "{len}");
            assert_eq!(sum_lanes(bytes), naive(bytes), "{len}");
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2, as was asked just before.
                assert_eq!(unsafe { sum_words_avx2(bytes) }, naive(bytes), "{len}");
            }
        }
        assert_eq!(sum_words(&[0xff; 65_536]), 16_384 * 0xffff_ffff);
    }

    #[test]
    fn what_is_moved_is_whole_and_summed_however_far_it_goes() {
        let bytes: Vec<u8> =
            (0..5_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in (0..400).chain([1398, 1399, 1400, 1448]) {
            for by in [0, 1, 7, 63, 64, 65, 74, 128, 3000] {
                let (to, start) = (11, 11 + by);
                let mut moved = bytes.clone();
                let sum = move_words(&mut moved, start..start + len, to);
                assert_eq!(sum, naive(&bytes[start..start + len]), "{len} by {by}");
                assert_eq!(moved[..to], bytes[..to]);
                assert_eq!(moved[to..to + len], bytes[start..start + len], "{len} by {by}");
                assert_eq!(moved[start + len..], bytes[start + len..], "{len} by {by}");
            }
        }
    }
}
