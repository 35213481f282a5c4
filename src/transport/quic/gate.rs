//! Who may begin a handshake: it costs us a thousand times what it costs who asks for it.

use std::time::{Duration, Instant};

/// First messages that are looked at: so many at once, and a second. More are from nobody who
/// means a connection.
const STRANGERS_BURST: u32 = 256;
const STRANGERS_RATE: u32 = 1000;
/// Those from where a peer is thought to be have a share of their own.
const KNOWN_BURST: u32 = 256;
const KNOWN_RATE: u32 = 1000;

/// From so many handshakes under way on, who asks for one has to prove first that it is where it
/// says it is (RFC 9000 section 8.1.2).
pub(super) const HANDSHAKES_UNPROVEN: usize = 32;

/// Long header, fixed bit, type (RFC 9000 section 17.2).
const LONG: u8 = 0x80;
const TYPE: u8 = 0x30;

/// Looks at datagrams before QUIC does.
pub(super) struct Gate {
    strangers: Bucket,
    known: Bucket,
}

impl Gate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            strangers: Bucket::new(STRANGERS_BURST, STRANGERS_RATE, now),
            known: Bucket::new(KNOWN_BURST, KNOWN_RATE, now),
        }
    }

    /// Whether a datagram that begins a handshake may be looked at.
    pub(super) fn admits(&mut self, now: Instant, is_known: bool) -> bool {
        match is_known {
            true => self.known.take(now),
            false => self.strangers.take(now),
        }
    }
}

/// Whether a datagram may begin a handshake, or ask for another version: an Initial, or nothing
/// that version 1 knows.
pub(super) fn begins_handshake(datagram: &[u8]) -> bool {
    match datagram {
        [first, 0, 0, 0, 1, ..] => first & LONG != 0 && first & TYPE == 0,
        [first, ..] => first & LONG != 0,
        [] => false,
    }
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
    fn only_what_may_begin_a_handshake_takes_of_the_budget() {
        assert!(begins_handshake(&[0xc0, 0, 0, 0, 1, 8]), "an Initial");
        assert!(begins_handshake(&[0x80, 9, 9, 9, 9, 8]), "another version");
        assert!(begins_handshake(&[0xff]));
        assert!(!begins_handshake(&[0xe0, 0, 0, 0, 1, 8]), "a Handshake packet");
        assert!(!begins_handshake(&[0x40, 0, 0, 0, 1]), "1-RTT");
        assert!(!begins_handshake(&[]));
    }
}
