//! Whether a checksum that looks unfinished is one.

use std::time::{Duration, Instant};

use crate::frame::checksum::Check;
use crate::offload::Gso;

/// After so many finished checksums in a row one that looks unfinished is doubted.
const FINISHED_MAX: u32 = 64;

/// So long one that looked unfinished speaks for the next.
const MEMORY: Duration = Duration::from_secs(60);

/// What a peer's checksums were like so far.
///
/// A kernel peer on this machine leaves checksums to be finished by whoever needs them
/// (CHECKSUM_PARTIAL): the field holds the sum of the pseudo-header, and nothing in the datagram
/// says so. One in 65 536 packets that were damaged on the way looks the same, and finishing its
/// checksum would make it right. So the first that looks unfinished, of a peer that finishes them,
/// is left for the kernel to refuse: what was damaged is sent again whole, and where the peer is
/// on this machine after all, it looks unfinished again and is believed.
#[derive(Default)]
pub(super) struct Checksums {
    /// Finished ones in a row.
    finished: u32,
    /// When the last one looked unfinished.
    unfinished: Option<Instant>,
}

impl Checksums {
    /// Takes note of a finished one.
    #[inline]
    pub(super) fn note_finished(&mut self) {
        self.finished = self.finished.saturating_add(1);
    }

    /// Says what one is in the light of those before it.
    #[inline]
    pub(super) fn judge(&mut self, now: Instant, check: Check, gso: Gso) -> Check {
        match check {
            Check::Partial => {
                let is_unfinished = self.is_unfinished(now);
                // A whole GSO packet is what only a kernel on this machine leaves.
                if is_unfinished || gso != Gso::None { check } else { Check::Invalid }
            }
            Check::Valid | Check::Invalid | Check::Unread => {
                self.note_finished();
                check
            }
            Check::Absent => check,
        }
    }

    /// Takes note of one that looks unfinished; tells whether it is.
    fn is_unfinished(&mut self, now: Instant) -> bool {
        let is_recent = self.unfinished.is_some_and(|last| now < last + MEMORY);
        let is_believed = is_recent || self.finished < FINISHED_MAX;
        self.finished = 0;
        self.unfinished = Some(now);
        is_believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_finished(count: u32) -> Checksums {
        let mut checksums = Checksums::default();
        (0..count).for_each(|_| checksums.note_finished());
        checksums
    }

    #[test]
    fn unfinished_one_after_many_finished_is_doubted_once() {
        let now = Instant::now();
        assert!(after_finished(FINISHED_MAX - 1).is_unfinished(now));
        let mut checksums = after_finished(FINISHED_MAX);
        assert!(!checksums.is_unfinished(now));
        assert!(checksums.is_unfinished(now));
    }

    #[test]
    fn unfinished_ones_speak_for_the_next_for_a_minute() {
        let now = Instant::now();
        for (later, is_believed) in [(MEMORY - Duration::from_nanos(1), true), (MEMORY, false)] {
            let mut checksums = Checksums::default();
            assert!(checksums.is_unfinished(now));
            (0..FINISHED_MAX).for_each(|_| checksums.note_finished());
            assert_eq!(checksums.is_unfinished(now + later), is_believed);
        }
    }
}
