//! Ctrl-C and its kin, as something to ask and to wait for.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGINT, SIGTERM or SIGHUP; stays raised once it came.
#[derive(Debug)]
pub struct Interrupt(SignalFd);

impl Interrupt {
    /// Takes the signals away from their default action, for this thread and those it starts.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error, which it has for want of descriptors only.
    pub fn catch() -> io::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Whether one came.
    pub fn is_raised(&self) -> bool {
        self.poll(PollTimeout::ZERO).unwrap_or(true)
    }

    /// Waits for one, for a time or without end.
    ///
    /// # Errors
    ///
    /// Passes on the kernel's error.
    pub fn wait(&self, time: Option<Duration>) -> io::Result<()> {
        let timeout = time.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from);
        self.poll(timeout.unwrap_or(PollTimeout::MAX)).map(drop)
    }

    fn poll(&self, timeout: PollTimeout) -> io::Result<bool> {
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut ready, timeout)? > 0)
    }
}
