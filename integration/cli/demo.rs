//! The demonstration over each transport: what it shows, its keys, its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::life::can_make_devices;
use crate::program::{program, tunctl};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn demo_shows_traffic_and_tables_of_both_hosts_over_what_is_encrypted() {
    if !can_make_devices() {
        return;
    }
    for (transport, port, device, drawn, table) in [
        ("wireguard", 51820, "tun", "= wireguard =", "routes"),
        ("wireguard", 51820, "tap", "= vxlan in wireguard =", "fdb"),
        ("quic", 4433, "tun", "= quic VNI 42 =", "routes"),
        ("quic", 4433, "tap", "= quic VNI 42 =", "fdb"),
    ] {
        let ended = tunctl(&format!("demo --transport {transport} --device {device} --for 1"));

        let text = &ended.stdout;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{text}");
        assert!(text.contains(drawn), "{text}");
        assert!(text.contains("\necho   100 of 100 answers; "), "{text}");
        assert!(text.contains("\nTCP    ") && text.contains(" Gbit/s; "), "{text}");
        for (host, address) in [("alpha", "192.0.2.1"), ("beta", "192.0.2.2")] {
            for verb in ["status", "peers", table] {
                assert!(text.contains(&format!("\n[{host}] tunctl {verb}\n")), "{text}");
            }
            let words = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
            let peer = format!("{host} {transport} {address}:{port}");
            assert!(text.lines().any(|line| words(line) == peer), "{text}");
        }
        assert!(text.ends_with("nothing is left of the hosts.\n"), "{text}");
    }
}

#[test]
fn keys_of_the_demo_are_for_their_owner_only_and_differ() {
    if !can_make_devices() {
        return;
    }
    let mut demo = Demo::start();

    let keys = ["alpha", "beta"].map(|host| {
        let file = demo.file(&format!("run/{host}/wireguard.key"));
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{host}");
        fs::read_to_string(file).unwrap()
    });
    assert!(keys.iter().all(|key| key.len() == 45));
    assert_ne!(keys[0], keys[1]);
    let config = fs::read_to_string(demo.file("run/alpha/config.toml")).unwrap();
    assert!(!keys.iter().any(|key| config.contains(key.trim())), "{config}");
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
}

#[test]
fn killed_demo_takes_its_daemons_and_keys_with_it() {
    if !can_make_devices() {
        return;
    }
    let mut demo = Demo::start();
    let daemons = demo.daemons();
    assert_eq!(daemons.len(), 2);

    demo.signal(Signal::SIGKILL);
    demo.child.wait().unwrap();

    let deadline = Instant::now() + PATIENCE;
    while !daemons.iter().all(|pid| has_ended(pid)) {
        assert!(Instant::now() < deadline, "a daemon outlives the demonstration");
        std::thread::yield_now();
    }
    // They were in a mount namespace that ended with the last of these processes.
    assert!(["alpha", "beta"].iter().all(|host| !PathBuf::from(format!("/run/{host}")).exists()));
}

/// A demonstration over WireGuard that stays up; it is killed with this value.
struct Demo {
    child: Child,
}

impl Demo {
    /// Starts it and reads until its tables are there.
    #[track_caller]
    fn start() -> Self {
        let mut command = program();
        command.args(["demo", "--transport", "wireguard"]).stdout(Stdio::piped());
        let mut demo = Self { child: command.spawn().unwrap() };
        let mut lines = BufReader::new(demo.child.stdout.take().unwrap()).lines();
        let stays = lines.any(|line| line.unwrap() == "The tunnel stays up until Ctrl-C.");
        assert!(stays, "it ended early");
        demo
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Gives a path as it sees it.
    fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{path}", self.child.id()))
    }

    fn daemons(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children"));
        let lists: Vec<_> = tasks.map(|task| children(task.unwrap()).unwrap()).collect();
        lists.iter().flat_map(|list| list.split_whitespace().map(str::to_owned)).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process has ended; one that nobody has waited for has.
fn has_ended(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
