//! Other programs that speak WireGuard: started in a host, told what to do by `wg`.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::Node;
use crate::wait;

/// Such a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    WireguardGo,
    Boringtun,
}

impl Brand {
    /// Gives the name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun-cli",
        }
    }
}

/// A running program; it ends with this value.
pub struct Program {
    child: Child,
    interface: String,
    socket: PathBuf,
}

impl Program {
    /// Starts a program with an interface of its own and gives it a configuration of `wg setconf`.
    ///
    /// # Panics
    ///
    /// Panics if it does not get ready, or does not take the configuration.
    #[track_caller]
    pub fn start(node: &Node, brand: Brand, configuration: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // The control sockets of all hosts are in one directory.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let interface = format!("wg{}-{number}", std::process::id());
        let socket = tunctl::wg::Socket::path_of(&interface.parse().unwrap());
        let mut command = Command::new(brand.name());
        match brand {
            Brand::WireguardGo => command
                .arg(&interface)
                .envs([("WG_PROCESS_FOREGROUND", "1"), ("LOG_LEVEL", "error")]),
            Brand::Boringtun => command
                .args(["--foreground", "--disable-drop-privileges", "--verbosity", "error"])
                .arg(&interface),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = node.host.spawn(&mut command).unwrap();
        let mut program = Self { child, interface, socket };
        wait::until_true(&format!("{} answers", brand.name()), || {
            let ended = program.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", brand.name());
            UnixStream::connect(&program.socket).is_ok()
        });
        program.set(configuration);
        program
    }

    /// Gives the name of its interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    #[track_caller]
    fn set(&self, configuration: &str) {
        let mut command = Command::new("wg");
        command.args(["setconf", &self.interface, "/dev/stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().expect("piped above").write_all(configuration.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "wg setconf: {errors}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
