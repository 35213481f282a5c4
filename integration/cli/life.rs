//! The daemon from start to end: what it tells the service manager, its socket, its signals.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use tunctl::transport::quic::issue::{Dates, self_signed};

use crate::program::{ended, program};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the daemon may take to stop.
const STOP_TIME: Duration = Duration::from_secs(1);

#[test]
fn signal_ends_the_daemon_within_a_second_and_nothing_is_left() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let Some(place) = Place::new() else { return };
        let mut daemon = place.start();

        let started = Instant::now();
        daemon.signal(signal);
        let code = daemon.wait();

        assert_eq!(code, Some(0), "{signal}: {}", place.log());
        assert!(started.elapsed() < STOP_TIME, "{signal}: {:?}", started.elapsed());
        assert_eq!(place.notice(), "STOPPING=1\n");
        assert!(!place.socket().exists());
        assert!(!place.log().contains("ERROR"), "{}", place.log());
    }
}

#[test]
fn hang_up_is_answered_by_a_warning() {
    let Some(place) = Place::new() else { return };
    let mut daemon = place.start();

    daemon.signal(Signal::SIGHUP);
    place.wait_for_log("WARN SIGHUP: this build cannot reload its configuration");

    assert_eq!(place.status().0, Some(0));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn socket_is_for_its_owner_only() {
    let Some(place) = Place::new() else { return };
    let _daemon = place.start();

    let socket = fs::metadata(place.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o7777, 0o600);
    let directory = fs::metadata(place.socket().parent().unwrap()).unwrap();
    assert_eq!(directory.permissions().mode() & 0o022, 0);
}

#[test]
fn second_daemon_on_a_socket_is_refused_and_the_first_goes_on() {
    let Some(place) = Place::new() else { return };
    let _first = place.start();

    let second = ended(&mut place.command());

    let socket = place.socket();
    let message = format!("tunctl: another daemon answers on {}\n", socket.display());
    assert_eq!((second.code, second.stderr), (Some(1), message));
    assert_eq!(place.status().0, Some(0));
}

#[test]
fn daemon_that_was_killed_is_started_again_at_once() {
    let Some(place) = Place::new() else { return };
    let mut killed = place.start();
    killed.signal(Signal::SIGKILL);
    killed.wait();
    assert!(place.socket().exists());
    let (code, stderr) = place.status();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the one that made it is gone"), "{stderr}");

    let _again = place.start();

    assert_eq!(place.status().0, Some(0));
}

#[test]
fn running_daemon_has_no_capability_but_net_admin() {
    const NET_ADMIN: u64 = 1 << 12;
    let Some(place) = Place::new() else { return };
    let daemon = place.start();

    for task in fs::read_dir(format!("/proc/{}/task", daemon.child.id())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let line = status.lines().find(|line| line.starts_with(set)).unwrap();
            let (_, mask) = line.split_once(':').unwrap();
            let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
            assert_eq!(mask & !NET_ADMIN, 0, "{line}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
}

#[test]
fn unit_leaves_what_a_port_below_1024_takes_and_the_daemon_drops_it() {
    let now = Dates { now: SystemTime::now(), days: 30 };
    let Some(place) = Place::with_quic("0.0.0.0:443", now) else { return };
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/tunctl.service");
    let unit = fs::read_to_string(unit).unwrap();
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let kept: String =
        set.to_lowercase().split(' ').map(|name| name.replace("cap_", ",+")).collect();
    let mut command = in_namespace();
    command.args(["setpriv", "--bounding-set", &format!("-all{kept}")]);

    let daemon = place.start_as(place.command_in(command));

    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    assert!(status.contains("\nCapEff:\t0000000000001000\n"), "{status}");
}

#[test]
fn daemon_starts_with_a_certificate_that_cannot_be_used_now_and_says_so() {
    let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * days);
    for (since, warning) in [
        (18_262, "WARN certificate has expired whose=\"our certificate\" days_ago="),
        (43_830, "WARN our certificate cannot be used yet first_day=\"2090-01-01\""),
    ] {
        let dates = Dates { now: day(since) + Duration::from_secs(43_200), days: 30 };
        let Some(place) = Place::with_quic("127.0.0.1:4433", dates) else { return };
        let _daemon = place.start();
        place.wait_for_log(warning);
    }
}

#[test]
fn end_of_the_worker_ends_the_daemon_with_exit_code_1_and_nothing_is_left() {
    let Some(place) = Place::new() else { return };
    let mut daemon = place.start();

    let deleted = ended(daemon.in_its_namespace().args(["ip", "link", "delete", "tun-routed"]));

    assert_eq!(deleted.code, Some(0), "{}", deleted.stderr);
    assert_eq!(place.notice(), "STOPPING=1\n");
    assert_eq!(daemon.wait(), Some(1));
    assert!(place.log().contains("\ntunctl: device tun-routed: "), "{}", place.log());
    assert!(!place.socket().exists());
}

#[test]
fn log_filter_that_is_none_is_exit_code_2() {
    let Some(place) = Place::new() else { return };

    let ended = ended(place.command().env("TUNCTL_LOG", "tunctl=loud"));

    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let start = "tunctl: TUNCTL_LOG = \"tunctl=loud\": expected a log filter such as \"info\"";
    assert!(ended.stderr.starts_with(start), "{}", ended.stderr);
    assert!(!place.socket().exists());
}

#[test]
fn log_filter_is_taken_from_the_first_variable_that_is_set() {
    let Some(place) = Place::new() else { return };
    let mut command = place.command();
    command.env("TUNCTL_LOG", "off").env("RUST_LOG", "trace");
    let mut daemon = place.start_as(command);

    daemon.signal(Signal::SIGTERM);

    assert_eq!(daemon.wait(), Some(0));
    assert_eq!(place.log(), "");
}

/// Whether devices can be had in network namespaces of our own; prints why not.
pub fn can_make_devices() -> bool {
    if let Err(reason) = devices_are_there() {
        assert!(std::env::var_os("TUNCTL_NO_SKIP").is_none(), "would skip: {reason}");
        eprintln!("SKIPPED: {reason}");
        return false;
    }
    true
}

/// A directory with a configuration, for daemons in network namespaces of their own.
struct Place {
    directory: TempDir,
    notices: UnixDatagram,
}

impl Place {
    /// Gives `None`, and prints why, where no network namespace or device can be had.
    fn new() -> Option<Self> {
        Self::with("[vxlan]")
    }

    /// As [`Place::new`], where the transport is QUIC with a certificate of these dates.
    fn with_quic(listen: &str, dates: Dates) -> Option<Self> {
        let place = Self::with(&format!(
            "[quic]\nlisten = \"{listen}\"\ncertificate_file = \"site-a.crt\"\n\
             private_key_file = \"site-a.pem\"\n"
        ))?;
        let issued = self_signed("site-a", dates).unwrap();
        let (certificate, key) = ("site-a.crt", "site-a.pem");
        for (name, text) in [(certificate, &issued.certificate), (key, &*issued.key)] {
            let path = place.directory.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Some(place)
    }

    fn with(transport: &str) -> Option<Self> {
        if !can_make_devices() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "name = \"site-a\"\n{transport}\n\
             [[network]]\nname = \"routed\"\nvni = 1\ndevice = \"tun\"\n"
        );
        fs::write(directory.path().join("config.toml"), config).unwrap();
        let notices = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        notices.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(Self { directory, notices })
    }

    /// Gives the command that runs the daemon.
    fn command(&self) -> Command {
        self.command_in(in_namespace())
    }

    /// Gives the command that has `command` run the daemon.
    fn command_in(&self, mut command: Command) -> Command {
        let daemon = program();
        command.arg(daemon.get_program());
        for (variable, _) in daemon.get_envs() {
            command.env_remove(variable);
        }
        command.args(["run", "--config"]).arg(self.directory.path().join("config.toml"));
        command.arg("--socket").arg(self.socket());
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command
    }

    /// Starts the daemon and waits until it is ready.
    #[track_caller]
    fn start(&self) -> Daemon {
        self.start_as(self.command())
    }

    #[track_caller]
    fn start_as(&self, mut command: Command) -> Daemon {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let child = command.stderr(log).stdout(Stdio::null()).spawn().unwrap();
        let daemon = Daemon { child };
        assert_eq!(self.notice(), "READY=1\n", "{}", self.log());
        daemon
    }

    /// Asks the daemon for its status; gives the exit code and the faults.
    fn status(&self) -> (Option<i32>, String) {
        let ended = ended(program().arg("status").arg("--socket").arg(self.socket()));
        (ended.code, ended.stderr)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/site-a.sock")
    }

    /// Waits for what the daemon tells the service manager.
    #[track_caller]
    fn notice(&self) -> String {
        let mut buffer = [0; 256];
        match self.notices.recv(&mut buffer) {
            Ok(len) => String::from_utf8_lossy(&buffer[..len]).into_owned(),
            Err(error) => panic!("no notice: {error}: {}", self.log()),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    #[track_caller]
    fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "no {text} in {}", self.log());
            std::thread::yield_now();
        }
    }
}

/// A running daemon; it is killed with this value.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Gives the command that runs its arguments beside the daemon.
    fn in_its_namespace(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.child.id().to_string()).arg("-n").stdin(Stdio::null());
        if !geteuid().is_root() {
            command.args(["-U", "--preserve-credentials"]);
        }
        command
    }

    fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives the command that runs its arguments in a network namespace of their own, as one process.
fn in_namespace() -> Command {
    let mut command = Command::new("unshare");
    command.arg(if geteuid().is_root() { "-n" } else { "-rn" }).stdin(Stdio::null());
    command
}

fn devices_are_there() -> Result<(), String> {
    let tun = fs::File::options().read(true).write(true).open("/dev/net/tun");
    tun.map_err(|error| format!("/dev/net/tun: {error}"))?;
    match in_namespace().arg("true").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    }
}
