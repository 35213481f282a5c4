//! One host of the demonstration and the daemon in it.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{DemoDevice, DemoError};
use crate::lab::{Host, LabError};

/// The network identifier of the tunnel.
pub(super) const VNI: u32 = 42;

/// How long a daemon may take to be ready.
const START: Duration = Duration::from_secs(10);

/// How long a daemon may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(3);

/// How often a waiting step looks whether its daemon still runs.
const LOOK: Duration = Duration::from_millis(10);

/// A host and its addresses.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) host: Host,
    pub(super) underlay: IpAddr,
    pub(super) wire: IpNet,
    pub(super) overlay: IpAddr,
}

impl Site {
    pub(super) fn alpha() -> Result<Self, LabError> {
        Self::new("alpha", 1)
    }

    pub(super) fn beta() -> Result<Self, LabError> {
        Self::new("beta", 2)
    }

    /// Makes a host; the underlay is TEST-NET-1 (RFC 5737), the overlay a private network.
    fn new(name: &'static str, number: u8) -> Result<Self, LabError> {
        let underlay = Ipv4Addr::new(192, 0, 2, number);
        Ok(Self {
            name,
            host: Host::new(name)?,
            underlay: underlay.into(),
            wire: Ipv4Net::new_assert(underlay, 24).into(),
            overlay: Ipv4Addr::new(10, 9, 0, number).into(),
        })
    }

    fn config(&self, other: &Site, device: DemoDevice) -> String {
        let Self { name, underlay, overlay, .. } = self;
        let allowed = match device {
            DemoDevice::Tun => format!("allowed_ips = [\"{}/32\"]\n", other.overlay),
            DemoDevice::Tap => String::new(),
        };
        let device = device.name();
        format!(
            "name = \"{name}\"\n\
             [vxlan]\n\
             listen = \"{underlay}\"\n\
             [[network]]\n\
             name = \"demo\"\n\
             vni = {VNI}\n\
             device = \"{device}\"\n\
             addresses = [\"{overlay}/24\"]\n\
             [[peer]]\n\
             name = \"{}\"\n\
             transport = \"vxlan\"\n\
             endpoint = \"{}\"\n\
             {allowed}",
            other.name, other.underlay
        )
    }
}

/// A daemon in its host; killed when this value goes.
pub(super) struct Node {
    name: &'static str,
    host: Host,
    child: Child,
    directory: PathBuf,
    notices: UnixDatagram,
}

impl Node {
    /// Starts the daemon of `site`, whose peer is `other`; its files are in `directory`.
    pub(super) fn start(
        site: &Site,
        other: &Site,
        device: DemoDevice,
        directory: &Path,
    ) -> Result<Self, DemoError> {
        let directory = directory.join(site.name);
        let failed = |action| move |source| DemoError::Setup { action, source };
        fs::create_dir(&directory).map_err(failed("make a directory"))?;
        let config = directory.join("config.toml");
        fs::write(&config, site.config(other, device))
            .map_err(failed("write the configuration"))?;
        let notify = directory.join("notify");
        let notices = UnixDatagram::bind(&notify).map_err(failed("make the readiness socket"))?;
        notices.set_read_timeout(Some(LOOK)).map_err(failed("make the readiness socket"))?;
        let log = File::create(directory.join("log")).map_err(failed("make the log file"))?;
        let mut command = ourselves();
        command.arg("run").arg("--config").arg(config);
        command.arg("--socket").arg(directory.join("api.sock"));
        command.env("NOTIFY_SOCKET", notify).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = site.host.spawn(&mut command)?;
        Ok(Self { name: site.name, host: site.host.clone(), child, directory, notices })
    }

    /// Waits until the daemon says that it is ready.
    pub(super) fn wait_until_ready(&mut self) -> Result<(), DemoError> {
        let deadline = Instant::now() + START;
        let mut notice = [0; 4096];
        loop {
            if let Ok(len) = self.notices.recv(&mut notice)
                && notice[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
            {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.fault(format!("ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.fault(format!("was not ready after {} s", START.as_secs())));
            }
        }
    }

    /// Gives the answer of a verb that asks the daemon.
    pub(super) fn ask(&self, verb: &'static str) -> Result<String, DemoError> {
        let mut command = ourselves();
        command.arg("--socket").arg(self.socket()).arg(verb);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self
            .host
            .spawn(&mut command)?
            .wait_with_output()
            .map_err(|source| DemoError::Setup { action: "ask a daemon", source })?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(DemoError::Verb { host: self.name, verb, text });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stops the daemon as a service manager does.
    pub(super) fn stop(mut self) -> Result<(), DemoError> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGTERM)
            .map_err(|errno| DemoError::Setup { action: "stop a daemon", source: errno.into() })?;
        match self.wait_for_end() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.fault(format!("ended with {status}"))),
            None => Err(self.fault(format!("did not stop within {} s", STOP.as_secs()))),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_for_end(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::park_timeout(LOOK);
        }
        None
    }

    fn fault(&self, fault: String) -> DemoError {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        DemoError::Daemon { host: self.name, fault, log }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended already unless something failed: then the error to report is another one.
        let _: io::Result<()> = self.child.kill();
        let _: io::Result<ExitStatus> = self.child.wait();
    }
}

/// Gives a command that runs this very program, also if its file has been replaced or moved.
fn ourselves() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tunctl");
    command
}
