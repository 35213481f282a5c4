//! Sums of words, in the widest vectors that the processor has.

/// Below this many bytes the choice costs more than wide vectors save.
const WIDE_MIN: usize = 256;

/// Sums the 32-bit words of `bytes` in the machine's byte order; the bytes of an unfinished last
/// word are its first. Meant for at most 64 KiB: the sum cannot overflow then.
#[inline]
pub fn sum_words(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WIDE_MIN && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was asked just before.
        return unsafe { sum_words_avx2(bytes) };
    }
    sum_lanes(bytes)
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
        }
        assert_eq!(sum_words(&[0xff; 65_536]), 16_384 * 0xffff_ffff);
    }
}
