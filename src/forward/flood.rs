//! How fast a source may flood: a token bucket.

use std::time::{Duration, Instant};

/// The rate at which each source (our own device, each peer) may flood a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodRate {
    /// Packets per second in the long run; 0 lets none through, 10^9 and more is no limit.
    pub rate_pps: u32,
    /// Packets at once.
    pub burst: u32,
}

impl Default for FloodRate {
    fn default() -> Self {
        Self { rate_pps: 10_000, burst: 2_000 }
    }
}

/// A token bucket that counts packets. It starts full.
#[derive(Clone, Copy, Debug)]
pub struct FloodLimit {
    /// What one packet takes, as the time in which it comes back.
    cost: Duration,
    /// What a full bucket holds, as the time in which it fills.
    depth: Duration,
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl FloodLimit {
    /// Makes a full bucket.
    pub fn new(rate: FloodRate) -> Self {
        let FloodRate { rate_pps, burst } = rate;
        let Some(cost_ns) = 1_000_000_000_u64.checked_div(rate_pps.into()) else {
            return Self { cost: Duration::from_secs(1), depth: Duration::ZERO, full_at: None };
        };
        let depth = Duration::from_nanos(cost_ns * u64::from(burst));
        Self { cost: Duration::from_nanos(cost_ns), depth, full_at: None }
    }

    /// Takes `packets` tokens, all or none; a run of more than the burst never passes.
    pub fn take(&mut self, packets: u64, now: Instant) -> bool {
        let missing = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        let missing = missing.saturating_add(self.cost.saturating_mul(packets));
        if missing > self.depth {
            return false;
        }
        self.full_at = Some(now + missing);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate_pps: u32, burst: u32) -> FloodLimit {
        FloodLimit::new(FloodRate { rate_pps, burst })
    }

    #[test]
    fn a_burst_passes_at_once_and_the_next_packet_does_not() {
        let now = Instant::now();
        let mut limit = limit(100, 20);
        assert!((0..20).all(|_| limit.take(1, now)));
        assert!(!limit.take(1, now));
    }

    #[test]
    fn tokens_come_back_at_the_rate() {
        let now = Instant::now();
        let mut limit = limit(100, 20);
        assert!(limit.take(20, now));
        let later = now + Duration::from_millis(50);
        assert!(!limit.take(6, later));
        assert!(limit.take(5, later));
        assert!(!limit.take(1, later));
    }

    #[test]
    fn a_bucket_never_holds_more_than_the_burst() {
        let now = Instant::now();
        let mut limit = limit(100, 20);
        assert!(limit.take(1, now));
        let later = now + Duration::from_secs(3600);
        assert!(!limit.take(21, later));
        assert!(limit.take(20, later));
    }

    #[test]
    fn a_refused_run_takes_nothing() {
        let now = Instant::now();
        let mut limit = limit(100, 20);
        assert!(!limit.take(u64::MAX, now));
        assert!(limit.take(20, now));
    }

    #[test]
    fn rate_zero_lets_nothing_through() {
        let now = Instant::now();
        assert!(!limit(0, 20).take(1, now));
        assert!(!limit(20, 0).take(1, now));
    }

    #[test]
    fn a_clock_that_steps_back_is_survived() {
        let now = Instant::now() + Duration::from_secs(10);
        let mut limit = limit(100, 20);
        assert!(limit.take(20, now));
        assert!(!limit.take(1, now - Duration::from_secs(5)));
    }
}
