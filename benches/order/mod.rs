//! The order in which the keys of a table are asked for.

/// Keys looked up in a cycle, a power of two.
pub const SAMPLES: usize = 1 << 20;

/// Each as often as any other.
pub fn uniform<T: Copy>(keys: &[T]) -> Vec<T> {
    (0..SAMPLES as u64).map(|n| keys[mix(!n) as usize % keys.len()]).collect()
}

/// Zipf with exponent 1: the kth key is looked up 1/k as often as the first.
pub fn zipf<T: Copy>(keys: &[T]) -> Vec<T> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=keys.len())
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    (0..SAMPLES as u64)
        .map(|n| {
            let point = mix(!n) as f64 / u64::MAX as f64 * sum;
            keys[sums.partition_point(|sum| *sum < point).min(keys.len() - 1)]
        })
        .collect()
}

/// SplitMix64 of a counter.
pub fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
