//! When a peer is dialled: again and again while there is no connection, less and less often.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The pause after the first attempt that failed; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The next attempt.
pub(super) struct Dial {
    next: Instant,
    pause: Duration,
    is_under_way: bool,
}

impl Dial {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, pause: PAUSE_MIN, is_under_way: false }
    }

    /// Whether to dial now; then it is under way.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.is_under_way && self.next <= now;
        self.is_under_way |= begins;
        begins
    }

    /// An attempt has failed, or a connection that was there is lost.
    pub(super) fn fail(&mut self, now: Instant) {
        // Half to the whole of it: ends that were cut off together do not come back together.
        let jitter = RandomState::new().hash_one(self.pause) as u32;
        let pause =
            self.pause / 2 + (self.pause / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        self.is_under_way = false;
        self.next = now + pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// There is a connection.
    pub(super) fn succeed(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The peer may be elsewhere: no pause any more.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = now;
        self.pause = PAUSE_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_begin_anew_with_a_connection() {
        let start = Instant::now();
        let mut dial = Dial::new(start);
        let mut now = start;
        for attempt in 0..12 {
            assert!(dial.begin(now), "{attempt}");
            assert!(!dial.begin(now), "one at a time");
            dial.fail(now);
            let whole = (PAUSE_MIN * (1 << attempt)).min(PAUSE_MAX);
            assert!(dial.next >= now + whole / 2 && dial.next <= now + whole, "{attempt}");
            assert!(!dial.begin(dial.next - Duration::from_nanos(1)));
            now = dial.next;
        }
        dial.succeed(now);
        dial.fail(now);
        assert!(dial.next <= now + PAUSE_MIN);
    }
}
