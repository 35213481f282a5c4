//! Who may begin a handshake: it costs us a thousand times what it costs who asks for it.

use std::time::{Duration, Instant};

use super::ids::{self, Ids};

/// First messages that are looked at: so many at once, and a second. One costs some ten
/// microseconds, as long as it is answered by asking for a proof only; somebody who means a
/// connection says it several times, of which one is to pass also beside many that mean nothing.
const STRANGERS_BURST: u32 = 2048;
const STRANGERS_RATE: u32 = 8000;
/// Those from where a peer is thought to be have a share of their own.
const KNOWN_BURST: u32 = 256;
const KNOWN_RATE: u32 = 1000;
/// And so have those who go on with what we have answered: a flood from elsewhere cannot.
const ANSWERED_BURST: u32 = 4096;
const ANSWERED_RATE: u32 = 8000;

/// What goes on with a connection that is over is answered by a reset: a restarted daemon has many
/// at once to tell.
const RESETS_BURST: u32 = 4096;
const RESETS_RATE: u32 = 5000;

/// From so many handshakes under way on, who asks for one has to prove first that it is where it
/// says it is (RFC 9000 section 8.1.2).
pub(super) const HANDSHAKES_UNPROVEN: usize = 32;

/// Long header, fixed bit, type (RFC 9000 section 17.2).
const LONG: u8 = 0x80;
const TYPE: u8 = 0x30;
/// Where the length of the destination's ID is, and where that begins (RFC 8999 section 5.1).
const ID_LEN: usize = 5;
const ID: usize = 6;
/// What [`Gate::is_later`] looks at.
pub(super) const HEAD_LEN: usize = ID + ids::LEN;

/// Looks at datagrams before QUIC does.
pub(super) struct Gate {
    ids: Ids,
    strangers: Bucket,
    known: Bucket,
    answered: Bucket,
    resets: Bucket,
}

impl Gate {
    pub(super) fn new(ids: Ids, now: Instant) -> Self {
        Self {
            ids,
            strangers: Bucket::new(STRANGERS_BURST, STRANGERS_RATE, now),
            known: Bucket::new(KNOWN_BURST, KNOWN_RATE, now),
            answered: Bucket::new(ANSWERED_BURST, ANSWERED_RATE, now),
            resets: Bucket::new(RESETS_BURST, RESETS_RATE, now),
        }
    }

    /// Whether a datagram may be looked at; `is_known` is where a peer is thought to be.
    pub(super) fn admits(&mut self, now: Instant, datagram: &[u8], is_known: bool) -> bool {
        if !begins_handshake(datagram) {
            return true;
        }
        if self.goes_on(datagram) {
            return self.answered.take(now);
        }
        (is_known && self.known.take(now)) || self.strangers.take(now)
    }

    /// Whether one more may be told that its connection is over.
    pub(super) fn may_reset(&mut self, now: Instant) -> bool {
        self.resets.take(now)
    }

    /// Whether a datagram, of which the `head` is given, is for an ID of ours and begins nothing.
    pub(super) fn is_later(&self, head: &[u8]) -> bool {
        match head.first() {
            Some(first) if first & LONG != 0 => !begins_handshake(head) && self.goes_on(head),
            _ => head.get(1..=ids::LEN).is_some_and(|id| self.ids.has(id)),
        }
    }

    /// Whether a long header is for an ID that we have given.
    fn goes_on(&self, datagram: &[u8]) -> bool {
        datagram.get(ID_LEN).is_some_and(|len| usize::from(*len) == ids::LEN)
            && datagram.get(ID..ID + ids::LEN).is_some_and(|id| self.ids.has(id))
    }
}

/// Whether a datagram may begin a handshake, or ask for another version: an Initial, or nothing
/// that version 1 knows.
fn begins_handshake(datagram: &[u8]) -> bool {
    match datagram {
        [first, 0, 0, 0, 1, ..] => first & LONG != 0 && first & TYPE == 0,
        [first, ..] => first & LONG != 0,
        [] => false,
    }
}

/// Whether a datagram has the short header, which all have after the handshake.
pub(super) fn is_short(head: &[u8]) -> bool {
    head.first().is_some_and(|first| first & LONG == 0)
}

/// Tokens that come back with time.
struct Bucket {
    tokens: u32,
    burst: u32,
    interval: Duration,
    since: Instant,
}

impl Bucket {
    fn new(burst: u32, rate: u32, now: Instant) -> Self {
        Self { tokens: burst, burst, interval: Duration::from_secs(1) / rate, since: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let back = passed.as_nanos() / self.interval.as_nanos();
        let back = u32::try_from(back).unwrap_or(self.burst).min(self.burst);
        self.since = match self.tokens + back >= self.burst {
            true => now,
            false => self.since + self.interval * back,
        };
        self.tokens = (self.tokens + back).min(self.burst);
        let Some(left) = self.tokens.checked_sub(1) else { return false };
        self.tokens = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use quinn_proto::ConnectionIdGenerator;

    use super::*;

    #[test]
    fn bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 1000, start);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 10);
        let taken = (0..10_000).filter(|n| bucket.take(start + Duration::from_micros(100 * n)));
        assert!((990..=1000).contains(&taken.count()));
        assert_eq!((0..100).filter(|_| bucket.take(start + Duration::from_secs(60))).count(), 10);
    }

    #[test]
    fn what_goes_on_with_an_answer_passes_beside_a_flood() {
        let start = Instant::now();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
        let mut ids = Ids::new(&key);
        let mut gate = Gate::new(ids.clone(), start);
        let initial = |id: &[u8]| [&[0xc0, 0, 0, 0, 1, id.len() as u8], id, &[0; 1200]].concat();
        let stranger = initial(&[9; 8]);
        let admitted = (0..100_000).filter(|_| gate.admits(start, &stranger, false)).count();
        assert_eq!(admitted, STRANGERS_BURST as usize);
        let answered = initial(&ids.generate_cid());
        assert!(gate.admits(start, &answered, false));
        assert!(gate.admits(start, &stranger, true), "from where a peer is");
        assert!(!gate.admits(start, &stranger, false));
        for len in 0..answered.len().min(20) {
            // Nothing but a count, however short it is.
            gate.admits(start, &answered[..len], false);
        }
    }

    #[test]
    fn only_what_may_begin_a_handshake_takes_of_the_budget() {
        assert!(begins_handshake(&[0xc0, 0, 0, 0, 1, 8]), "an Initial");
        assert!(begins_handshake(&[0x80, 9, 9, 9, 9, 8]), "another version");
        assert!(begins_handshake(&[0xff]));
        assert!(!begins_handshake(&[0xe0, 0, 0, 0, 1, 8]), "a Handshake packet");
        assert!(!begins_handshake(&[0x40, 0, 0, 0, 1]), "1-RTT");
        assert!(!begins_handshake(&[]));
    }
}
