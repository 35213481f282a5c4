//! When packets go: evenly at a rate, in bursts of at most 50 µs worth, or as fast as they do.

use std::thread;
use std::time::{Duration, Instant};

use super::GLANCE;

/// What one burst is worth at most, ns of the rate.
const BURST_NS: f64 = 50_000.0;

/// What a sender that was held up makes good, ns of the rate. The rest is not sent at all: it would
/// be a burst that nobody asked for.
const ARREARS_NS: f64 = 500_000.0;

/// A burst where there is no rate.
const BURST_UNPACED: u64 = 64;

/// How long the kernel may delay a wake-up of a sender to save energy, ns. The default is 50 µs.
const TIMER_SLACK_NS: u64 = 1;

/// The plan of a sender.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    rate: Option<Rate>,
}

#[derive(Debug)]
struct Rate {
    /// Between two packets, ns.
    interval: f64,
    /// Packets of a burst.
    burst: f64,
    /// When the next packet is due, ns since the start.
    due: f64,
}

/// What is to be done now.
#[derive(Debug, PartialEq)]
enum Step {
    Send(u64),
    Wait(Duration),
}

impl Pace {
    /// Starts now, for the calling thread. A rate that is not above zero is none.
    pub(super) fn start(rate_pps: Option<f64>) -> Self {
        // A wake-up that is late makes a burst longer, and is no reason to fail.
        let _ = nix::sys::prctl::set_timerslack(TIMER_SLACK_NS);
        Self { start: Instant::now(), rate: rate_pps.filter(|pps| *pps > 0.0).map(Rate::new) }
    }

    /// Waits until packets are due, a glance at most, and gives their number, which may be 0.
    pub(super) fn wait(&mut self) -> u64 {
        let Some(rate) = &mut self.rate else { return BURST_UNPACED };
        match rate.step(self.start.elapsed()) {
            Step::Send(packets) => packets,
            Step::Wait(time) => {
                thread::sleep(time.min(GLANCE));
                0
            }
        }
    }

    /// Gives the time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Rate {
    fn new(pps: f64) -> Self {
        let interval = 1e9 / pps;
        Self { interval, burst: (BURST_NS / interval).floor().max(1.0), due: 0.0 }
    }

    fn step(&mut self, now: Duration) -> Step {
        let now = now.as_nanos() as f64;
        // The last packet of the burst: then the burst is due as a whole.
        let last = self.due + (self.burst - 1.0) * self.interval;
        if now < last {
            return Step::Wait(Duration::from_nanos((last - now).ceil() as u64));
        }
        self.due = self.due.max(now - ARREARS_NS.max(self.burst * self.interval));
        self.due += self.burst * self.interval;
        Step::Send(self.burst as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn burst_is_fifty_microseconds_worth() {
        let mut rate = Rate::new(100_000.0);
        assert_eq!(rate.step(at(0)), Step::Wait(at(40)));
        assert_eq!(rate.step(at(40)), Step::Send(5));
        assert_eq!(rate.step(at(41)), Step::Wait(at(49)));
        assert_eq!(rate.step(at(90)), Step::Send(5));
    }

    #[test]
    fn low_rate_goes_packet_by_packet() {
        let mut rate = Rate::new(1000.0);
        assert_eq!(rate.step(at(0)), Step::Send(1));
        assert_eq!(rate.step(at(1)), Step::Wait(at(999)));
        assert_eq!(rate.step(at(1000)), Step::Send(1));
    }

    #[test]
    fn held_up_sender_makes_good_half_a_millisecond() {
        let mut rate = Rate::new(100_000.0);
        let mut sent = 0;
        while let Step::Send(packets) = rate.step(at(1_000_000)) {
            sent += packets;
        }
        assert_eq!(sent, 50);
    }

    #[test]
    fn any_series_of_wake_ups_keeps_the_rate() {
        for pps in [3.0, 777.0, 19_999.0, 20_001.0, 123_456.0, 5e6] {
            let mut rate = Rate::new(pps);
            let (mut now, mut sent) = (0_u64, 0_u64);
            // Wake-ups that are 0 to 99 µs late.
            for i in 0..10_000_u64 {
                match rate.step(Duration::from_nanos(now)) {
                    Step::Send(packets) => sent += packets,
                    Step::Wait(time) => {
                        now += time.as_nanos() as u64 + (i * 7919) % 100 * 1000;
                    }
                }
            }
            let wanted = pps * now as f64 / 1e9;
            let burst = rate.burst + pps * 100e-6 + 1.0;
            assert!((sent as f64 - wanted).abs() <= burst, "{pps}: {sent} of {wanted}");
        }
    }
}
