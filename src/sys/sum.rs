//! Sums of words, in the widest vectors that the processor has.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
    _mm512_reduce_add_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64,
};

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

/// Eight lanes of 64 bits for each half of a double word, twice, so that no addition waits for the
/// one before.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn sum_words_avx512(bytes: &[u8]) -> u64 {
    let low_half = _mm512_set1_epi64(0xffff_ffff);
    let add = |lanes: &mut [__m512i; 2], words| {
        lanes[0] = _mm512_add_epi64(lanes[0], _mm512_and_si512(words, low_half));
        lanes[1] = _mm512_add_epi64(lanes[1], _mm512_srli_epi64::<32>(words));
    };
    // SAFETY: the array has the 64 bytes that are read, from any address.
    let load = |block: &[u8; 64]| unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let mut lanes = [[_mm512_setzero_si512(); 2]; 2];
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (pairs, last) = blocks.as_chunks::<2>();
    for [first, second] in pairs {
        add(&mut lanes[0], load(first));
        add(&mut lanes[1], load(second));
    }
    for block in last {
        add(&mut lanes[0], load(block));
    }
    let mask = (1_u64 << rest.len()) - 1;
    // SAFETY: only the bytes that the mask names are read, and `rest` has those.
    add(&mut lanes[1], unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) });
    let [[a, b], [c, d]] = lanes;
    let all = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
    _mm512_reduce_add_epi64(all) as u64
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
}
