//! Descriptors that this process was started with, beyond the three standard ones.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

/// The first descriptor that is not a standard one.
const FIRST: RawFd = 3;

/// Takes the descriptor of this number from whoever started the process. From now on it is closed
/// when a program is executed, as all of ours are.
///
/// # Errors
///
/// `EBADF` if the process was not started with it, or if it was taken already.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if number < FIRST {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: F_GETFD takes any number, and asks only.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // Whatever this process opens is close-on-exec, and so is what was taken.
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: the descriptor is open, and setting the flag concerns no memory.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open and has no owner: std, nix and the libraries open with
    // O_CLOEXEC, so one without it came by exec; it was given to nobody else, because the flag has
    // been clear until now and the lock is held.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes what the process was started with, but for the standard descriptors and those to keep.
///
/// # Errors
///
/// `/proc` is not there.
pub fn close_others(kept: &[RawFd]) -> io::Result<()> {
    let names = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let numbers: Vec<RawFd> = names.filter_map(|name| name.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| !kept.contains(number)) {
        // What is not inherited, or was open for the list only, is refused.
        drop(take(number));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::{AsRawFd, IntoRawFd};

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    #[test]
    fn only_what_came_by_exec_is_taken_and_only_once() {
        let (mut reader, writer) = io::pipe().unwrap();
        assert!(take(writer.as_raw_fd()).is_err(), "it is ours");
        fcntl(&writer, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let number = writer.into_raw_fd();

        let taken = take(number).unwrap();

        assert!(take(number).is_err(), "it is taken");
        drop(taken);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "it is closed");
    }

    #[test]
    fn standard_descriptors_and_closed_ones_are_not_taken() {
        for number in [-1, 0, 1, 2, RawFd::MAX] {
            assert_eq!(take(number).unwrap_err().raw_os_error(), Some(Errno::EBADF as i32));
        }
    }
}
