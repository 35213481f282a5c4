//! Waiting for file descriptors: level-triggered epoll, and an eventfd to be woken by.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Events that one wait reports at most; the rest are reported by the next.
const EVENTS_MAX: usize = 64;

/// Waits until one of its file descriptors can be read.
///
/// Level-triggered: a descriptor with unread input is reported again by the next wait. One with an
/// error (a device that was deleted) is reported as well; reading it gives the error.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: [EpollEvent; EVENTS_MAX],
    ready: usize,
}

impl Poller {
    /// Makes a poller that watches nothing.
    ///
    /// # Errors
    ///
    /// Fails if the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: [EpollEvent::empty(); EVENTS_MAX],
            ready: 0,
        })
    }

    /// Watches a descriptor for input and reports it as `token`.
    ///
    /// The descriptor leaves the poller by [`Poller::remove`], or when it is closed.
    ///
    /// # Errors
    ///
    /// Fails if the descriptor is watched already or cannot be waited for.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    ///
    /// Fails if it is not watched.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until a descriptor is ready or the time is over, and gives the number of ready ones.
    ///
    /// `None` waits for ever, zero only looks. A timeout is rounded up to milliseconds. A signal
    /// ends the wait with 0.
    ///
    /// # Errors
    ///
    /// Passes on what epoll_wait says.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(timeout) => EpollTimeout::from(rounded_ms(timeout)),
        };
        self.ready = match self.epoll.wait(&mut self.events, timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        Ok(self.ready)
    }

    /// Gives the tokens that the last wait found ready.
    pub fn ready(&self) -> impl Iterator<Item = u64> + '_ {
        self.events[..self.ready].iter().map(EpollEvent::data)
    }
}

fn rounded_ms(timeout: Duration) -> u16 {
    u16::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u16::MAX)
}

/// Wakes a [`Poller`] from another thread.
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// Makes one that is not set.
    ///
    /// # Errors
    ///
    /// Fails if the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Makes a second handle to the same wake.
    ///
    /// # Errors
    ///
    /// Fails if the process has no file descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let fd = self.0.as_fd().try_clone_to_owned()?;
        // SAFETY: `fd` is a duplicate of an eventfd.
        Ok(Self(unsafe { EventFd::from_owned_fd(fd) }))
    }

    /// Sets it: the poller that watches it reports it until it is cleared.
    pub fn set(&self) {
        // The only failure is EAGAIN, of a counter that is full: then it is set.
        let _ = self.0.write(1);
    }

    /// Clears it; says whether it was set.
    pub fn clear(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until a descriptor takes output, at most `timeout_ms`; says whether it does.
pub fn wait_writable(fd: BorrowedFd<'_>, timeout_ms: u16) -> bool {
    wait_for(fd, PollFlags::POLLOUT, timeout_ms)
}

/// Waits until a descriptor has input, at most `timeout_ms`; says whether it has.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout_ms: u16) -> bool {
    wait_for(fd, PollFlags::POLLIN, timeout_ms)
}

fn wait_for(fd: BorrowedFd<'_>, event: PollFlags, timeout_ms: u16) -> bool {
    let mut fds = [PollFd::new(fd, event)];
    matches!(nix::poll::poll(&mut fds, PollTimeout::from(timeout_ms)), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_is_reported_until_it_is_cleared() {
        let mut poller = Poller::new().unwrap();
        let wake = Wake::new().unwrap();
        poller.add(&wake, 9).unwrap();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), 0);
        wake.try_clone().unwrap().set();
        for _ in 0..2 {
            assert_eq!(poller.wait(None).unwrap(), 1);
            assert_eq!(poller.ready().collect::<Vec<_>>(), [9]);
        }
        assert!(wake.clear());
        assert!(!wake.clear());
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), 0);
        assert_eq!(poller.ready().count(), 0);
    }

    #[test]
    fn removed_descriptor_is_not_reported() {
        let mut poller = Poller::new().unwrap();
        let wake = Wake::new().unwrap();
        poller.add(&wake, 1).unwrap();
        wake.set();
        poller.remove(&wake).unwrap();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), 0);
    }

    #[test]
    fn timeout_is_rounded_up() {
        assert_eq!(rounded_ms(Duration::from_nanos(1)), 1);
        assert_eq!(rounded_ms(Duration::from_millis(3)), 3);
        assert_eq!(rounded_ms(Duration::from_secs(100_000)), u16::MAX);
    }
}
