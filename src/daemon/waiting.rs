//! How the worker waits for packets: where they come at short intervals it looks for a while before
//! it sleeps.
//!
//! Sleeping costs the next packet a wake-up, and on an idle virtual processor the way out of a halt
//! as well: some 10 µs for each worker on its way. But a processor that somebody else could use is
//! not for looking, so every look is followed by a yield, and when that takes long, the worker
//! sleeps. While there is bulk data it does not look either: what comes next gathers meanwhile, and
//! is cheaper together.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::poll::Poller;

/// A look and a yield that nobody else makes use of take less.
const YIELD_MAX: Duration = Duration::from_micros(5);

/// Packets come at short intervals if the last one came within this many times the time to look.
const SHORT: u32 = 2;

/// So many bytes are bulk data: more than a request or an answer.
const BULK: usize = 32 * 1024;
/// There is bulk data for so long after some came.
const BULK_TIME: Duration = Duration::from_millis(20);

/// Waits, and knows how it went.
pub(super) struct Waiting {
    poller: Poller,
    /// How long to look before sleeping; zero: not at all.
    busy_poll: Duration,
    /// The last wait was short.
    is_busy: bool,
    /// When the last bulk data will be so long ago that no more is expected.
    bulk_until: Option<Instant>,
    /// Calls so far.
    calls: u64,
}

impl Waiting {
    pub(super) fn new(poller: Poller, busy_poll: Duration) -> Self {
        Self { poller, busy_poll, is_busy: false, bulk_until: None, calls: 0 }
    }

    /// Waits until something is ready or the time is over, and gives the time then.
    ///
    /// `moved` is how many bytes of packets were read since the last wait.
    ///
    /// # Errors
    ///
    /// Passes on what epoll_wait says.
    pub(super) fn wait(&mut self, until: Instant, moved: usize) -> io::Result<Instant> {
        let start = Instant::now();
        if moved >= BULK {
            self.bulk_until = Some(start + BULK_TIME);
        }
        let is_bulk = self.bulk_until.is_some_and(|until| start < until);
        if self.is_busy && !is_bulk && self.look(start)? {
            return Ok(Instant::now());
        }
        self.calls += 1;
        self.poller.wait(Some(until.saturating_duration_since(start)))?;
        let now = Instant::now();
        self.is_busy = now - start < SHORT * self.busy_poll;
        Ok(now)
    }

    /// Looks until something is ready, the time for it is over, or the processor is wanted.
    fn look(&mut self, start: Instant) -> io::Result<bool> {
        let mut last = start;
        loop {
            self.calls += 1;
            if self.poller.wait(Some(Duration::ZERO))? > 0 {
                return Ok(true);
            }
            thread::yield_now();
            let now = Instant::now();
            if now - last > YIELD_MAX || now - start > self.busy_poll {
                return Ok(false);
            }
            last = now;
        }
    }

    /// Gives what it waits with, to watch other descriptors.
    pub(super) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Gives the tokens that the last wait found ready.
    pub(super) fn ready(&self) -> impl Iterator<Item = u64> + '_ {
        self.poller.ready()
    }

    /// Gives the calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::poll::Wake;

    const TOKEN: u64 = 7;

    fn waiting(busy_poll: Duration) -> (Waiting, Wake) {
        let (poller, wake) = (Poller::new().unwrap(), Wake::new().unwrap());
        poller.add(wake.as_fd(), TOKEN).unwrap();
        (Waiting::new(poller, busy_poll), wake)
    }

    #[test]
    fn what_is_ready_is_found_whether_it_looks_or_sleeps() {
        for busy_poll in [Duration::ZERO, Duration::from_secs(1)] {
            let (mut waiting, wake) = waiting(busy_poll);
            for _ in 0..3 {
                wake.set();
                waiting.wait(Instant::now() + Duration::from_secs(10), 0).unwrap();
                assert_eq!(waiting.ready().collect::<Vec<_>>(), [TOKEN]);
            }
            assert_eq!(waiting.calls(), 3);
            assert_eq!(waiting.is_busy, !busy_poll.is_zero());
        }
    }

    #[test]
    fn without_a_time_to_look_it_only_sleeps() {
        let (mut waiting, _wake) = waiting(Duration::ZERO);
        for calls in 1..4 {
            waiting.wait(Instant::now(), 0).unwrap();
            assert_eq!((waiting.ready().count(), waiting.calls()), (0, calls));
        }
    }

    #[test]
    fn while_there_is_bulk_data_it_only_sleeps() {
        let (mut waiting, wake) = waiting(Duration::from_secs(1));
        wake.set();
        waiting.wait(Instant::now(), 0).unwrap();
        wake.clear();
        let before = waiting.calls();
        waiting.wait(Instant::now(), BULK).unwrap();
        assert_eq!(waiting.calls(), before + 1);
        let until = waiting.bulk_until.expect("bulk data");
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        waiting.wait(Instant::now(), BULK - 1).unwrap();
        assert!(waiting.calls() >= before + 3, "a look and a sleep");
    }

    #[test]
    fn it_looks_before_it_sleeps_where_packets_come_at_short_intervals() {
        let (mut waiting, wake) = waiting(Duration::from_secs(1));
        wake.set();
        waiting.wait(Instant::now(), 0).unwrap();
        wake.clear();
        let before = waiting.calls();
        waiting.wait(Instant::now(), 0).unwrap();
        assert!(waiting.calls() >= before + 2, "a look and a sleep");
    }
}
