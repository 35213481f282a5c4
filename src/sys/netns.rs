//! Namespaces: leaving those of the process, entering another network namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Pid, getegid, geteuid, getpid, getppid};

/// Moves the process into a user namespace of its own, where it is root.
///
/// # Errors
///
/// `EINVAL` also if the process has more than one thread.
pub fn enter_user_namespace() -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Moves the process into a mount namespace of its own, from which no mount gets out.
pub fn enter_mount_namespace() -> io::Result<()> {
    use nix::mount::{MsFlags, mount};

    unshare(CloneFlags::CLONE_NEWNS)?;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    Ok(mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?)
}

/// Moves the calling thread into a new network namespace and gives the descriptor that holds it.
pub fn unshare_network() -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    current()
}

/// Gives a descriptor of the calling thread's network namespace.
pub fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Moves the calling thread into a network namespace.
pub fn enter(netns: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setns(netns, CloneFlags::CLONE_NEWNET)?)
}

/// Makes the process of `command` start in a network namespace, without blocked signals, and die
/// with the thread that starts it.
pub fn start_inside(command: &mut Command, netns: Arc<OwnedFd>) {
    let parent = getpid();
    let prepare = move || prepare_child(netns.as_fd(), parent);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe work is
    // allowed: it makes plain system calls (setns, prctl, getppid, sigprocmask), it does not
    // allocate or lock (an `io::Error` from an errno holds no allocation), and the descriptor it
    // borrows is owned by the closure itself.
    unsafe { command.pre_exec(prepare) };
}

fn prepare_child(netns: BorrowedFd<'_>, parent: Pid) -> io::Result<()> {
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have gone before the line above: then nobody would send the signal.
    if getppid() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}
