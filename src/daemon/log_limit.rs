//! Keeps a fault that repeats from filling the log.

use std::time::{Duration, Instant};

/// Between two lines of one kind.
const PERIOD: Duration = Duration::from_secs(60);

/// Kinds remembered at once; one more takes the place of the one that was logged longest ago.
const KINDS_MAX: usize = 64;

/// Lets one line of each kind through in a minute, and counts those it held back.
///
/// A kind is what makes two lines the same fault: an enum, or an enum with an errno. Asked only
/// when something is to be logged, so a short list is searched, and nothing is allocated once the
/// list has grown.
#[derive(Clone, Debug)]
pub struct LogLimit<K> {
    kinds: Vec<Kind<K>>,
}

#[derive(Clone, Debug)]
struct Kind<K> {
    kind: K,
    logged: Instant,
    held_back: u64,
}

impl<K> Default for LogLimit<K> {
    fn default() -> Self {
        Self { kinds: Vec::new() }
    }
}

impl<K: PartialEq> LogLimit<K> {
    /// Tells whether a line of this kind may be logged now: `Some` of the number of lines of the
    /// kind that were held back since the last, or `None`.
    pub fn allow(&mut self, kind: K, now: Instant) -> Option<u64> {
        if let Some(known) = self.kinds.iter_mut().find(|known| known.kind == kind) {
            if now.saturating_duration_since(known.logged) < PERIOD {
                known.held_back += 1;
                return None;
            }
            known.logged = now;
            return Some(std::mem::take(&mut known.held_back));
        }
        let newcomer = Kind { kind, logged: now, held_back: 0 };
        if self.kinds.len() < KINDS_MAX {
            self.kinds.push(newcomer);
        } else if let Some(oldest) = self.kinds.iter_mut().min_by_key(|known| known.logged) {
            *oldest = newcomer;
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_logged_once_a_minute_and_repeats_are_counted() {
        let start = Instant::now();
        let mut limit = LogLimit::default();

        assert_eq!(limit.allow("send", start), Some(0));
        assert_eq!(limit.allow("send", start + PERIOD / 2), None);
        assert_eq!(limit.allow("send", start + PERIOD - Duration::from_nanos(1)), None);
        assert_eq!(limit.allow("send", start + PERIOD), Some(2));
        assert_eq!(limit.allow("send", start + PERIOD), None);
    }

    #[test]
    fn kinds_do_not_limit_each_other() {
        let start = Instant::now();
        let mut limit = LogLimit::default();

        assert_eq!(limit.allow(("send", 1), start), Some(0));
        assert_eq!(limit.allow(("send", 2), start), Some(0));
    }

    #[test]
    fn full_list_forgets_the_kind_logged_longest_ago() {
        let start = Instant::now();
        let at = |kind: usize| start + Duration::from_millis(kind as u64);
        let mut limit = LogLimit::default();
        for kind in 0..=KINDS_MAX {
            assert_eq!(limit.allow(kind, at(kind)), Some(0));
        }

        assert_eq!(limit.allow(1, at(KINDS_MAX)), None, "still remembered");
        assert_eq!(limit.allow(0, at(KINDS_MAX)), Some(0), "forgotten");
        assert_eq!(limit.kinds.len(), KINDS_MAX);
    }
}
