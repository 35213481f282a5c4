//! The way to the background: the program starts itself once more, and waits until that is ready.
//!
//! wireguard-go makes device and socket first, and hands them over. Here the process that stays
//! makes everything itself, and tells on its standard output, a pipe, how it went. So whoever
//! called gets every fault of the start, not only those of the first half, and nothing is forked.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stderr, dup2_stdout, setsid};
use thiserror::Error;

use super::Environment;
use super::arguments::{BACKGROUND, FOREGROUND};
use crate::sys::inherited;

/// How long the process in the background may take to be ready.
const READY_TIME: Duration = Duration::from_secs(30);

/// What the process in the background says when it is ready.
const READY: &[u8] = b"ready\n";

/// So much of its faults is passed on, bytes.
const FAULT_LEN_MAX: usize = 4096;

/// Why there is no process in the background. If there was one it has ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackgroundError {
    /// It was not started.
    #[error("cannot start a process in the background: {0}")]
    Start(#[from] io::Error),
    /// It ended, and said why.
    #[error("{0}")]
    Fault(String),
    /// It ended without a word.
    #[error("the process in the background ended with {0}")]
    Ended(ExitStatus),
    /// It was not ready in time.
    #[error("the process in the background was not ready within {} s", READY_TIME.as_secs())]
    Late,
}

/// Starts this program with the same words once more, and returns when that is ready.
///
/// # Errors
///
/// See [`BackgroundError`].
pub(super) fn start(environment: &Environment) -> Result<(), BackgroundError> {
    let mut words = env::args_os();
    // Not the path of the program, which may have been replaced by another version.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    command.args(words).env(FOREGROUND, "1").env(BACKGROUND, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    if !environment.keeps_log {
        command.stderr(Stdio::null());
    }
    let mut child = command.spawn()?;
    let result = wait(&mut child, READY_TIME);
    if result.is_err() {
        // It has ended already, or is late.
        let _ = child.kill();
        child.wait()?;
    }
    result
}

fn wait(child: &mut Child, time: Duration) -> Result<(), BackgroundError> {
    let Some(output) = child.stdout.take() else {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
    };
    let said = listen(output, time)?.ok_or(BackgroundError::Late)?;
    if said == READY {
        return Ok(());
    }
    match String::from_utf8_lossy(&said).trim_end() {
        "" => Err(BackgroundError::Ended(child.wait()?)),
        fault => Err(BackgroundError::Fault(fault.into())),
    }
}

/// Reads until the end, or until the other end is ready; `None` if the time is over before.
fn listen(mut output: ChildStdout, time: Duration) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + time;
    let mut said = Vec::new();
    let mut bytes = [0; 512];
    while said != READY && said.len() < FAULT_LEN_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return Ok(None),
            Ok(_) => match output.read(&mut bytes)? {
                0 => break,
                len => said.extend_from_slice(&bytes[..len]),
            },
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Some(said))
}

/// Whoever waits for this process to be ready, if anybody does.
#[derive(Debug)]
pub(super) enum Caller {
    /// The process is in the foreground.
    Nobody,
    /// It is in the background, and its caller reads its standard output.
    Waits,
}

impl Caller {
    /// Makes a process that was started by [`start`] independent of its caller, but for standard
    /// output.
    pub(super) fn of(environment: &Environment) -> io::Result<Self> {
        if !environment.is_background {
            return Ok(Self::Nobody);
        }
        // Fails only for what is independent already.
        let _ = setsid();
        env::set_current_dir("/")?;
        // The program's own name, in place of that of /proc/self/exe.
        nix::sys::prctl::set_name(c"tunctl-wg")?;
        let kept: Vec<_> =
            [environment.tun_fd, environment.uapi_fd].into_iter().flatten().collect();
        inherited::close_others(&kept)?;
        Ok(Self::Waits)
    }

    /// Tells that all is ready.
    ///
    /// # Errors
    ///
    /// The caller has gone away: it does not want this process any more.
    pub(super) fn ready(&mut self) -> io::Result<()> {
        if let Self::Waits = self {
            io::stdout().write_all(READY)?;
            io::stdout().flush()?;
            dup2_stdout(null()?)?;
            *self = Self::Nobody;
        }
        Ok(())
    }

    /// Tells why this process ends, if it is not ready yet. Then nothing more goes to standard
    /// error: the caller says it.
    pub(super) fn fault(&mut self, fault: &dyn std::error::Error) {
        if let Self::Waits = self {
            // Without a caller the exit code is all that is left to say.
            let _ = write!(io::stdout(), "{fault}").and_then(|()| io::stdout().flush());
            let _ = null().and_then(|null| Ok(dup2_stderr(null)?));
            *self = Self::Nobody;
        }
    }
}

fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(script: &str, time: Duration) -> Result<(), BackgroundError> {
        let mut child =
            Command::new("sh").arg("-c").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let result = wait(&mut child, time);
        let _ = child.kill();
        child.wait().unwrap();
        result
    }

    #[test]
    fn process_that_is_ready_is_left_alone_while_it_runs() {
        after("echo ready; exec sleep 100", READY_TIME).unwrap();
        after("printf re; printf 'ady\\n'; exec sleep 100", READY_TIME).unwrap();
    }

    #[test]
    fn fault_of_the_process_is_passed_on() {
        let error = |script| after(script, READY_TIME).unwrap_err().to_string();
        assert_eq!(error("echo no device"), "no device");
        assert_eq!(error("exit 3"), "the process in the background ended with exit status: 3");
        let long = error("yes | head -c 100000");
        assert!((FAULT_LEN_MAX / 2..2 * FAULT_LEN_MAX).contains(&long.len()), "{}", long.len());
    }

    #[test]
    fn process_that_is_late_is_not_waited_for() {
        let result = after("exec sleep 100", Duration::from_millis(10));
        assert!(matches!(result, Err(BackgroundError::Late)), "{result:?}");
    }
}
