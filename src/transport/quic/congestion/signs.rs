//! What losses are signs of: a full queue, or a bad wire.
//!
//! A queue that is full enough to lose has made the round trip longer before (as TCP Veno and
//! Vegas have it); where it has not, a few losses say nothing about it. Many do: a queue may be too
//! short to be seen, and a policer has none.

use std::time::{Duration, Instant};

/// A round trip that is longer than the shortest by one part in so many, and this time, has a
/// queue in it.
const QUEUE_PART: u32 = 4;
const QUEUE_TIME: Duration = Duration::from_millis(1);

/// One byte lost of so many is no more a few; BBRv2 takes one of fifty.
const LOSS_PART: u64 = 32;
/// Packets that may be lost beyond that: few packets are no measure.
const LOSS_PACKETS: u64 = 4;
/// Packets after which what was counted counts half.
const MEMORY_PACKETS: u64 = 1024;

/// What was seen on a path.
#[derive(Clone, Debug)]
pub(super) struct Signs {
    mtu: u64,
    /// The shortest round trips: ever, in the round before this one, and in this one.
    shortest: Duration,
    former: Duration,
    current: Duration,
    /// What is sent after this time belongs to the next round.
    round_begun: Instant,
    arrived: u64,
    lost: u64,
}

impl Signs {
    pub(super) fn new(now: Instant, mtu: u16) -> Self {
        let [shortest, former, current] = [Duration::MAX; 3];
        let (arrived, lost) = (0, 0);
        Self { mtu: mtu.into(), shortest, former, current, round_begun: now, arrived, lost }
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
    }

    /// Takes note of a packet that was acknowledged.
    pub(super) fn note_arrived(&mut self, now: Instant, sent: Instant, bytes: u64) {
        if sent >= self.round_begun {
            self.former = std::mem::replace(&mut self.current, Duration::MAX);
            self.round_begun = now;
        }
        let trip = now.saturating_duration_since(sent);
        self.current = self.current.min(trip);
        self.shortest = self.shortest.min(trip);
        self.arrived += bytes;
        if self.arrived + self.lost > MEMORY_PACKETS * self.mtu {
            (self.arrived, self.lost) = (self.arrived / 2, self.lost / 2);
        }
    }

    /// Takes note of a loss, and tells whether it is one of congestion.
    pub(super) fn are_of_congestion(&mut self, lost: u64) -> bool {
        self.lost += lost;
        let allowed = (self.arrived + self.lost) / LOSS_PART + LOSS_PACKETS * self.mtu;
        if self.lost > allowed {
            // Who slows down by this has a chance to show that it helps.
            (self.arrived, self.lost) = (0, 0);
            return true;
        }
        self.has_queue()
    }

    fn has_queue(&self) -> bool {
        let trip = self.former.min(self.current);
        if trip == Duration::MAX {
            return true;
        }
        trip - self.shortest > (self.shortest / QUEUE_PART).max(QUEUE_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1452;
    const TRIP: Duration = Duration::from_millis(20);

    /// A path that is used at 1000 packets a second.
    struct Path {
        now: Instant,
        signs: Signs,
    }

    impl Path {
        fn new() -> Self {
            let now = Instant::now();
            let mut path = Self { now, signs: Signs::new(now, MTU) };
            path.carry(100, TRIP);
            path
        }

        /// Packets arrive, each after a round trip of this time.
        fn carry(&mut self, packets: u32, trip: Duration) {
            for _ in 0..packets {
                self.now += Duration::from_millis(1);
                self.signs.note_arrived(self.now, self.now - trip, MTU.into());
            }
        }

        fn lose(&mut self, packets: u64) -> bool {
            self.signs.are_of_congestion(packets * u64::from(MTU))
        }
    }

    #[test]
    fn few_losses_without_a_queue_are_no_congestion() {
        let mut path = Path::new();
        for _ in 0..1000 {
            path.carry(99, TRIP);
            assert!(!path.lose(1));
        }
    }

    #[test]
    fn a_loss_with_a_queue_is_congestion_until_the_queue_is_gone() {
        let mut path = Path::new();
        path.carry(100, TRIP * 2);
        assert!(path.lose(1));
        path.carry(100, TRIP);
        assert!(!path.lose(1));
    }

    #[test]
    fn many_losses_are_congestion_whatever_the_round_trip_is() {
        let mut path = Path::new();
        let judged: Vec<_> = (0..100).map(|_| (path.carry(19, TRIP), path.lose(1)).1).collect();
        let times = judged.iter().filter(|is_congestion| **is_congestion).count();
        assert!(times >= 5, "{times} of 100 losses, one packet in twenty");
    }

    #[test]
    fn a_burst_of_losses_is_congestion() {
        let mut path = Path::new();
        assert!(path.lose(20));
    }

    #[test]
    fn one_slow_answer_is_no_queue() {
        let mut path = Path::new();
        path.carry(1, TRIP * 3);
        assert!(!path.lose(1));
    }

    #[test]
    fn a_loss_before_anything_has_arrived_is_congestion() {
        let now = Instant::now();
        assert!(Signs::new(now, MTU).are_of_congestion(1));
    }
}
