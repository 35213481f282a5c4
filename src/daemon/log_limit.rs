//! Keeps a fault that repeats from filling the log.

use std::time::{Duration, Instant};

/// Between two lines of one kind; and in which lines of no fault are counted.
const PERIOD: Duration = Duration::from_secs(60);

/// Kinds remembered at once; one more takes the place of the one that was logged longest ago, if that
/// may be logged again.
const KINDS_MAX: usize = 64;

/// Lines of no fault that are logged in a period.
const LINES_MAX: u32 = 200;

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
            return Some(0);
        }
        let oldest = self.kinds.iter_mut().min_by_key(|known| known.logged)?;
        if now.saturating_duration_since(oldest.logged) < PERIOD {
            return None;
        }
        *oldest = newcomer;
        Some(0)
    }
}

/// Bounds lines that are no fault, each of which is news.
#[derive(Clone, Debug, Default)]
pub struct LineLimit {
    since: Option<Instant>,
    count: u32,
}

/// What is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The line.
    Whole,
    /// The line, and that further ones are left out.
    Last,
    /// Nothing.
    None,
}

impl LineLimit {
    /// Tells whether one more line may be logged now.
    pub fn allow(&mut self, now: Instant) -> Line {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        match self.count {
            LINES_MAX => Line::Last,
            count if count > LINES_MAX => Line::None,
            _ => Line::Whole,
        }
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
    fn full_list_forgets_the_kind_logged_longest_ago_when_that_may_be_logged_again() {
        let start = Instant::now();
        let at = |kind: usize| start + Duration::from_millis(kind as u64);
        let mut limit = LogLimit::default();
        for kind in 0..KINDS_MAX {
            assert_eq!(limit.allow(kind, at(kind)), Some(0));
        }

        for kind in 0..10 * KINDS_MAX {
            assert_eq!(limit.allow(kind, at(KINDS_MAX)), None, "{kind}");
        }
        assert_eq!(limit.allow(KINDS_MAX, start + PERIOD), Some(0), "in place of the first");
        assert_eq!(limit.allow(0, start + PERIOD), None);
        assert_eq!(limit.kinds.len(), KINDS_MAX);
    }

    #[test]
    fn news_has_so_many_lines_in_a_minute() {
        let (start, mut limit) = (Instant::now(), LineLimit::default());
        for minute in 0..3 {
            let now = start + PERIOD * minute;
            let lines: Vec<_> = (0..LINES_MAX + 5).map(|_| limit.allow(now)).collect();
            let (whole, rest) = lines.split_at(LINES_MAX as usize - 1);
            assert!(whole.iter().all(|line| *line == Line::Whole));
            assert_eq!(rest[0], Line::Last);
            assert!(rest[1..].iter().all(|line| *line == Line::None));
        }
    }
}
