//! A child process that outlives its parent, to clean up after it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2, setsid};

/// The parent's end: a pipe to the child, which reads its end when the parent is gone.
#[derive(Debug)]
pub struct Child {
    pipe: Option<File>,
    pid: Pid,
}

/// The descriptor of the pipe in the child.
const PIPE_FD: libc::c_int = 3;

impl Child {
    /// Starts a child that runs `body` with the reading end of a pipe, in a session of its own, and
    /// ends when `body` does. It keeps standard input, output and error, and nothing else that the
    /// parent has open.
    ///
    /// # Errors
    ///
    /// Fails if the process has more than one thread (what another thread holds would stay locked
    /// in the child for ever), or if there is no process or descriptor left.
    pub fn start(name: &std::ffi::CStr, body: impl FnOnce(File)) -> io::Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads != 1 {
            return Err(io::Error::other(format!("{threads} threads run already")));
        }
        Self::start_among_threads(name, body)
    }

    /// As [`Child::start`], without the check; for tests, whose harness has a thread that waits.
    pub(crate) fn start_among_threads(
        name: &std::ffi::CStr,
        body: impl FnOnce(File),
    ) -> io::Result<Self> {
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: the process has one thread (the caller's promise in tests: others hold no lock),
        // so the child may do whatever the parent may. It never returns from here.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                Ok(Self { pipe: Some(File::from(writing)), pid: child })
            }
            ForkResult::Child => {
                let run = AssertUnwindSafe(|| body(settle_in(name, reading, writing)));
                let status = if catch_unwind(run).is_ok() { 0 } else { 1 };
                // SAFETY: ends the process without running what the parent registered for its end.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// The pipe to the child.
    pub fn pipe(&mut self) -> io::Result<&mut File> {
        self.pipe.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Child {
    /// Closes the pipe and waits for the child's end.
    fn drop(&mut self) {
        self.pipe = None;
        while waitpid(self.pid, None) == Err(Errno::EINTR) {}
    }
}

/// Makes the child independent of its parent: session, signals, name, descriptors.
fn settle_in(name: &std::ffi::CStr, reading: OwnedFd, writing: OwnedFd) -> File {
    let _ = setsid();
    for ignored in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal installs no handler.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
    let _ = nix::sys::prctl::set_name(name);
    let _ = nix::sys::prctl::set_pdeathsig(None);
    // SAFETY: PIPE_FD is no standard descriptor, and whoever owned it in the parent's image never
    // runs again in this process: `body` is all that does.
    unsafe { libc::dup2(reading.as_raw_fd(), PIPE_FD) };
    std::mem::forget((reading, writing));
    close_from(PIPE_FD + 1);
    // SAFETY: dup2 has opened the descriptor, and nobody else owns it.
    File::from(unsafe { OwnedFd::from_raw_fd(PIPE_FD) })
}

/// Closes every descriptor from `first` on.
fn close_from(first: libc::c_int) {
    // SAFETY: closes descriptors of this process only; see `settle_in` for their owners.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == 0 {
            return;
        }
        // cold: Linux before 5.9.
        for fd in first..libc::sysconf(libc::_SC_OPEN_MAX) as libc::c_int {
            libc::close(fd);
        }
    }
}
