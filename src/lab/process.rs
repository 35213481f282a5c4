//! A program that runs in a host for a while, with a log; killed when its value goes.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Host, LabError};

/// How often a wait looks whether the process still runs.
const LOOK: Duration = Duration::from_millis(10);

/// The last bytes of a log that an error message has.
const LOG_TAIL: usize = 4096;

/// A running program in a host; killed when this value goes.
#[derive(Debug)]
pub struct Process {
    title: String,
    host: Host,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a process group of its own (a terminal's Ctrl-C does not reach it),
    /// without standard input; what it prints goes to the file `log`. The title is for messages.
    ///
    /// It dies when the calling thread ends, as with [`Host::spawn`].
    pub fn start(
        title: &str,
        host: &Host,
        command: &mut Command,
        log: &Path,
    ) -> Result<Self, LabError> {
        let failed = |source| host.refused(format!("make the log {}", log.display()), source);
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = host.spawn(command)?;
        Ok(Self { title: title.into(), host: host.clone(), child, log: log.into() })
    }

    /// Gives the host that it runs in.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Gives the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether it still runs.
    ///
    /// # Errors
    ///
    /// Says how it ended, with its log.
    pub fn check(&mut self) -> Result<(), LabError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.fault(format!("ended with {status}"))),
            _ => Ok(()),
        }
    }

    /// Ends it by SIGTERM, as a service manager does.
    ///
    /// # Errors
    ///
    /// Fails with its log if it has not ended after `patience`, or not with exit code 0.
    pub fn stop(mut self, patience: Duration) -> Result<(), LabError> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGTERM)
            .map_err(|errno| self.host.refused(format!("stop {}", self.title), errno.into()))?;
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.fault(format!("ended with {status}"))),
                _ if Instant::now() < deadline => thread::park_timeout(LOOK),
                _ => {
                    let secs = patience.as_secs_f32();
                    return Err(self.fault(format!("did not stop within {secs} s")));
                }
            }
        }
    }

    /// Gives the last 4 KiB of what it printed.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(LOG_TAIL)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    /// Makes the error that says what it did wrong, with the end of its log.
    pub fn fault(&self, fault: String) -> LabError {
        let host = self.host.name().to_owned();
        LabError::Process { title: self.title.clone(), host, fault, log: self.log_tail() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless something failed: then the error to report is another one.
        let _: io::Result<()> = self.child.kill();
        let _: io::Result<ExitStatus> = self.child.wait();
    }
}
