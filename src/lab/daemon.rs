//! This program's own daemon in a host: its start, its answers, its end.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Host, LabError, Process};

/// How long a daemon may take to be ready.
const START: Duration = Duration::from_secs(10);

/// How long a daemon may take to stop.
const STOP: Duration = Duration::from_secs(3);

/// How often a wait for readiness looks whether the daemon still runs.
const LOOK: Duration = Duration::from_millis(10);

/// A `tunctl run` in a host; killed when this value goes.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    directory: PathBuf,
    notices: UnixDatagram,
}

impl Daemon {
    /// Starts a daemon with a configuration (TOML). Its files are in a new directory inside
    /// `directory` with the host's name.
    ///
    /// It dies when the calling thread ends, as with [`Host::spawn`]. To start several at once,
    /// start all before the first [`Daemon::wait_until_ready`].
    pub fn start(host: &Host, config: &str, directory: &Path) -> Result<Self, LabError> {
        let directory = directory.join(host.name());
        let failed =
            |source| host.refused(format!("make files in {}", directory.display()), source);
        fs::create_dir_all(&directory).map_err(failed)?;
        let path = directory.join("config.toml");
        fs::write(&path, config).map_err(failed)?;
        let notify = directory.join("notify");
        let notices = UnixDatagram::bind(&notify).map_err(failed)?;
        notices.set_read_timeout(Some(LOOK)).map_err(failed)?;
        let mut command = ourselves();
        command.arg("run").arg("--config").arg(path);
        command.arg("--socket").arg(directory.join("api.sock")).env("NOTIFY_SOCKET", notify);
        let process = Process::start("the daemon", host, &mut command, &directory.join("log"))?;
        Ok(Self { process, directory, notices })
    }

    /// Waits until the daemon says that it is ready, 10 s at most.
    ///
    /// # Errors
    ///
    /// Fails with the daemon's log if it ends instead, or is not ready in time.
    pub fn wait_until_ready(&mut self) -> Result<(), LabError> {
        let deadline = Instant::now() + START;
        let mut notice = [0; 4096];
        loop {
            if let Ok(len) = self.notices.recv(&mut notice)
                && notice[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
            {
                return Ok(());
            }
            self.process.check()?;
            if Instant::now() > deadline {
                let fault = format!("was not ready after {} s", START.as_secs());
                return Err(self.process.fault(fault));
            }
        }
    }

    /// Gives what a verb that asks the daemon prints, such as `status`.
    pub fn ask(&self, verb: &str) -> Result<String, LabError> {
        let host = self.host();
        let mut command = ourselves();
        command.arg("--socket").arg(self.socket()).arg(verb);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = host
            .spawn(&mut command)?
            .wait_with_output()
            .map_err(|source| host.refused(format!("run `tunctl {verb}`"), source))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LabError::Verb { host: host.name().into(), verb: verb.into(), text });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stops the daemon as a service manager does.
    ///
    /// # Errors
    ///
    /// Fails with the daemon's log unless it ends within 3 s with exit code 0.
    pub fn stop(self) -> Result<(), LabError> {
        self.process.stop(STOP)
    }

    /// Gives the host that it runs in.
    pub fn host(&self) -> &Host {
        self.process.host()
    }

    /// Gives the path of its API socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    /// Gives the last 4 KiB of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Gives the process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Gives a command that runs this very program, also if its file has been replaced or moved.
fn ourselves() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tunctl");
    command
}
