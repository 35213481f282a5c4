//! How the worker waits for packets: where they come at short intervals it looks for a while before
//! it sleeps.
//!
//! Sleeping costs the next packet a wake-up, and on an idle virtual processor the way out of a halt
//! as well: some 10 µs for each worker on its way. But a processor that somebody else could use is
//! not for looking, so every look is followed by a yield, and when that takes long, the worker
//! sleeps.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::poll::Poller;

/// A look and a yield that nobody else makes use of take less.
const YIELD_MAX: Duration = Duration::from_micros(5);

/// Packets come at short intervals if the last one came within this many times the time to look.
const SHORT: u32 = 2;

/// Waits, and knows how it went.
pub(super) struct Waiting {
    poller: Poller,
    /// How long to look before sleeping; zero: not at all.
    busy_poll: Duration,
    /// The last wait was short.
    is_busy: bool,
    /// Calls so far.
    calls: u64,
}

impl Waiting {
    pub(super) fn new(poller: Poller, busy_poll: Duration) -> Self {
        Self { poller, busy_poll, is_busy: false, calls: 0 }
    }

    /// Waits until something is ready or the time is over, and gives the time then.
    ///
    /// # Errors
    ///
    /// Passes on what epoll_wait says.
    pub(super) fn wait(&mut self, until: Instant) -> io::Result<Instant> {
        let start = Instant::now();
        if self.is_busy && self.look(start)? {
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

    /// Gives the tokens that the last wait found ready.
    pub(super) fn ready(&self) -> impl Iterator<Item = u64> + '_ {
        self.poller.ready()
    }

    /// Gives the calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }
}
