//! Waiting for file descriptors: level-triggered epoll, and an eventfd to be woken by.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
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
    /// The kernel waits for whole milliseconds only.
    is_coarse: bool,
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
            is_coarse: false,
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
    /// `None` waits for ever, zero only looks. On kernels before 5.11 a timeout is rounded up to
    /// milliseconds. A signal ends the wait with 0.
    ///
    /// # Errors
    ///
    /// Passes on what epoll_wait says.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.ready = match self.wait_exactly(timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        Ok(self.ready)
    }

    fn wait_exactly(&mut self, timeout: Option<Duration>) -> Result<usize, Errno> {
        let Some(timeout) = timeout else {
            return self.epoll.wait(&mut self.events, EpollTimeout::NONE);
        };
        let is_whole = timeout.subsec_nanos() % 1_000_000 == 0;
        if !is_whole && !self.is_coarse {
            match wait_to_the_ns(&self.epoll, &mut self.events, timeout) {
                Err(Errno::ENOSYS) => self.is_coarse = true,
                result => return result,
            }
        }
        self.epoll.wait(&mut self.events, EpollTimeout::from(rounded_ms(timeout)))
    }

    /// Gives the tokens that the last wait found ready.
    pub fn ready(&self) -> impl Iterator<Item = u64> + '_ {
        self.events[..self.ready].iter().map(EpollEvent::data)
    }
}

/// Waits by epoll_pwait2 (Linux 5.11), which takes nanoseconds.
fn wait_to_the_ns(
    epoll: &Epoll,
    events: &mut [EpollEvent],
    timeout: Duration,
) -> Result<usize, Errno> {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the events are as many epoll_event as their number says (EpollEvent is transparent);
    // they and the timeout outlive the call; there is no signal mask.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.0.as_raw_fd(),
            events.as_mut_ptr(),
            events.len() as libc::c_int,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    Errno::result(result).map(|ready| ready as usize)
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
