//! A `tunctl run` in a host: its configuration, its readiness, its log, its answers, its end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::place::Node;

pub use crate::config::Config;

/// How long a daemon may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives the program under test; `TUNCTL_BIN` names another build of it.
pub fn program() -> PathBuf {
    std::env::var_os("TUNCTL_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_tunctl").into(), PathBuf::from)
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub time: Duration,
    pub log: Vec<String>,
}

/// A running daemon; it ends with this value.
pub struct Daemon {
    child: Child,
    node: Node,
    directory: TempDir,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    variables: Vec<(String, String)>,
}

impl Daemon {
    /// Starts a daemon and waits until it says that it is ready.
    ///
    /// # Panics
    ///
    /// Panics with its log if it ends, or is not ready in time.
    #[track_caller]
    pub fn start(node: &Node, config: &Config) -> Self {
        Self::start_with(node, config, &[])
    }

    /// Starts a daemon with environment variables.
    #[track_caller]
    pub fn start_with(node: &Node, config: &Config, variables: &[(&str, &str)]) -> Self {
        Self::start_prepared(node, config, variables, &[])
    }

    /// Starts a daemon by a program that becomes it: `words` come before those of the daemon.
    #[track_caller]
    pub fn start_by(node: &Node, config: &Config, words: &[&str]) -> Self {
        Self::start_prepared(node, config, &[], words)
    }

    #[track_caller]
    fn start_prepared(
        node: &Node,
        config: &Config,
        variables: &[(&str, &str)],
        words: &[&str],
    ) -> Self {
        let directory = TempDir::new_in("/run").unwrap();
        config.write(directory.path());
        let notices = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let variables: Vec<_> =
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut daemon = Self::launch(node.clone(), directory, variables, words);
        daemon.wait_until_ready(&notices);
        daemon
    }

    /// Runs a daemon that is expected to refuse its start, and gives how it ended.
    #[track_caller]
    pub fn refused(node: &Node, config: &Config) -> Ended {
        let directory = TempDir::new_in("/run").unwrap();
        config.write(directory.path());
        let daemon = Self::launch(node.clone(), directory, vec![], &[]);
        daemon.wait(Instant::now())
    }

    fn launch(
        node: Node,
        directory: TempDir,
        variables: Vec<(String, String)>,
        words: &[&str],
    ) -> Self {
        let mut command = match words {
            [] => Command::new(program()),
            [first, others @ ..] => {
                let mut command = Command::new(first);
                command.args(others).arg(program());
                command
            }
        };
        command.arg("run").arg("--config").arg(directory.path().join("config.toml"));
        command.arg("--socket").arg(directory.path().join("api.sock"));
        command.env("NOTIFY_SOCKET", directory.path().join("notify"));
        command.envs(variables.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = node.host.spawn(&mut command).unwrap();
        let errors = BufReader::new(child.stderr.take().expect("piped above"));
        let log = Arc::new(Mutex::new(vec![]));
        let lines = Arc::clone(&log);
        let reader = thread::spawn(move || {
            errors.lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line));
        });
        Self { child, node, directory, log, reader: Some(reader), variables }
    }

    #[track_caller]
    fn wait_until_ready(&mut self, notices: &UnixDatagram) {
        notices.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            if let Ok(len) = notices.recv(&mut buffer)
                && buffer[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
            {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon in {} ended with {status}", self.node.host.name());
            }
            assert!(Instant::now() < deadline, "the daemon is not ready in time");
        }
    }

    /// Asks the daemon by another verb of the program, with `--json`.
    #[track_caller]
    pub fn ask(&self, verb: &str) -> Value {
        let mut command = Command::new(program());
        command.arg("--socket").arg(self.directory.path().join("api.sock"));
        command.args(verb.split_whitespace()).arg("--json");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self.node.host.spawn(&mut command).unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tunctl {verb} --json: {text}{errors}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{verb} --json: {error}: {text}"))
    }

    /// Asks the daemon on its socket: quicker than by a process.
    #[track_caller]
    pub fn query(&self, query: &str) -> Value {
        let mut socket = UnixStream::connect(self.directory.path().join("api.sock")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(socket, "{{\"query\":\"{query}\"}}").unwrap();
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).unwrap();
        let mut reply: Value = serde_json::from_str(&line).unwrap();
        assert!(reply["error"].is_null(), "{query}: {line}");
        reply["ok"].take()
    }

    /// Gives how many packets the daemon has dropped for a reason.
    #[track_caller]
    pub fn dropped(&self, reason: &str) -> u64 {
        let drops = self.query("drops");
        let reasons = drops["reasons"].as_array().expect("reasons is a list");
        let of = reasons.iter().find(|entry| entry["reason"] == reason);
        of.and_then(|entry| entry["packets"].as_u64()).unwrap_or(0)
    }

    /// Gives the memory that the daemon has in use, bytes (VmRSS).
    #[track_caller]
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.expect("a number of kB") << 10
    }

    /// Gives how long the daemon's threads have run on a processor.
    #[track_caller]
    pub fn processor_time(&self) -> Duration {
        self.thread_times().into_iter().map(|(_, time)| time).sum()
    }

    /// Gives the name of each of the daemon's threads, and how long it has run on a processor.
    #[track_caller]
    pub fn thread_times(&self) -> Vec<(String, Duration)> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of_each = threads.map(|thread| {
            let path = thread.unwrap().path();
            let name = fs::read_to_string(path.join("comm")).unwrap();
            let text = fs::read_to_string(path.join("schedstat")).unwrap();
            let time = text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
            (name.trim().to_owned(), Duration::from_nanos(time.expect("nanoseconds")))
        });
        of_each.collect()
    }

    /// Gives the log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Stops the daemon as a service manager does.
    #[track_caller]
    pub fn stop(self) -> Ended {
        let started = Instant::now();
        self.signal(Signal::SIGTERM);
        self.wait(started)
    }

    /// Kills the daemon and starts it again with the same configuration.
    #[track_caller]
    pub fn kill_and_start(mut self) -> Self {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
        let directory = std::mem::replace(&mut self.directory, TempDir::new_in("/run").unwrap());
        fs::remove_file(directory.path().join("notify")).unwrap();
        let notices = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let mut again = Self::launch(self.node.clone(), directory, self.variables.clone(), &[]);
        again.wait_until_ready(&notices);
        again
    }

    /// Puts another file in the place of one that the configuration names.
    #[track_caller]
    pub fn replace(&self, name: &str, content: &str) {
        let (new, path) = (self.directory.path().join("new"), self.directory.path().join(name));
        fs::write(&new, content).unwrap();
        fs::set_permissions(&new, fs::metadata(&path).unwrap().permissions()).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Asks the daemon to take what has changed.
    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    #[track_caller]
    fn wait(mut self, started: Instant) -> Ended {
        let deadline = started + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the daemon does not end");
            thread::park_timeout(Duration::from_millis(2));
        };
        let time = started.elapsed();
        self.reader.take().expect("taken here only").join().unwrap();
        Ended { status, time, log: self.log() }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.log.lock().map(|log| log.join("\n")).unwrap_or_default();
            println!("  log of the daemon in {}:\n{lines}", self.node.host.name());
        }
    }
}
