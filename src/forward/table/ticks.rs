//! Time in four bytes: ticks of 0.1 s since the table's epoch. 13 years fit.

use std::time::{Duration, Instant};

const PER_SECOND: u64 = 10;
const TICK: Duration = Duration::from_millis(100);

/// Counts ticks since an epoch. They do not go back: time before the current tick is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    epoch: Instant,
    /// The latest tick that was advanced to, so that its number is known without arithmetic.
    current: u32,
    current_end: Instant,
}

impl Ticks {
    pub(super) fn since(epoch: Instant) -> Self {
        Self { epoch, current: 0, current_end: epoch + TICK }
    }

    /// The tick that `now` is in.
    #[inline]
    pub(super) fn at(&self, now: Instant) -> u32 {
        if now < self.current_end { self.current } else { self.count(now) }
    }

    /// As [`Ticks::at`], and makes that tick the current one.
    #[inline]
    pub(super) fn advance(&mut self, now: Instant) -> u32 {
        if now >= self.current_end {
            self.current = self.count(now);
            self.current_end = self.epoch + Self::duration(self.current) + TICK;
        }
        self.current
    }

    /// The ticks that cover a duration.
    pub(super) fn covering(duration: Duration) -> u32 {
        let ticks = duration.as_nanos().div_ceil(TICK.as_nanos());
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    pub(super) fn duration(ticks: u32) -> Duration {
        Duration::from_millis(u64::from(ticks) * TICK.as_millis() as u64)
    }

    #[cold]
    fn count(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.epoch);
        let ticks = elapsed.as_secs().saturating_mul(PER_SECOND);
        let part = elapsed.subsec_nanos() / TICK.subsec_nanos();
        u32::try_from(ticks.saturating_add(part.into())).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_a_tenth_of_a_second_and_none_is_skipped_or_repeated() {
        let epoch = Instant::now();
        let mut ticks = Ticks::since(epoch);
        for ms in [0, 99, 100, 199, 200, 1000, 86_400_000, 86_400_099, 86_400_100] {
            let now = epoch + Duration::from_millis(ms);
            let expected = (ms / 100) as u32;
            assert_eq!((ticks.at(now), ticks.advance(now)), (expected, expected));
            assert_eq!(ticks.at(now), expected);
        }
    }

    #[test]
    fn ticks_do_not_go_back() {
        let epoch = Instant::now();
        let mut ticks = Ticks::since(epoch);
        ticks.advance(epoch + Duration::from_secs(5));
        assert_eq!((ticks.at(epoch), ticks.advance(epoch)), (50, 50));
    }
}
