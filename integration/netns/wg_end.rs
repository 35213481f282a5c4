//! An end of a WireGuard tunnel by a real program: ours under the name that `wg-quick` calls, or
//! wireguard-go.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::socket::{getsockopt, sockopt};
use tempfile::TempDir;
use tunctl::wg::Socket;

use crate::daemon::program;
use crate::need::Need;
use crate::pair::overlay;
use crate::place::{Node, try_run};
use crate::surroundings::has_ended;
use crate::wait::{until, until_true};

/// What the cases with real ends take.
pub const NEEDS: &[Need] = &[
    Need::Tun,
    Need::Program("bash"),
    Need::Program("ip"),
    Need::Program("ping"),
    Need::Program("wg"),
    Need::Program("wg-quick"),
];

/// The port of every end at first.
pub const PORT: u16 = 51820;

/// What moves the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Ours,
    WireguardGo,
}

/// Stands before `ip`: a kernel with WireGuard of its own would not leave it to the program.
const IP_WITHOUT_WIREGUARD: &str = "\
#!/bin/bash
[[ \"$*\" == *'type wireguard'* ]] && { echo 'no WireGuard here' >&2; exit 2; }
PATH=${PATH#*:}
exec ip \"$@\"
";

/// An end; whatever happens its program ends with this value.
pub struct End {
    pub node: Node,
    pub name: String,
    pub public: String,
    private: String,
    /// Which end it is: the number of its addresses, see [`overlay`].
    pub number: usize,
    program: PathBuf,
    pub socket: PathBuf,
    directory: TempDir,
}

impl End {
    /// Makes keys; nothing runs yet. `name` is unique among all cases: the sockets of all hosts are
    /// in one directory.
    pub fn new(node: &Node, name: &str, number: usize, program_kind: Program) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ours = directory.path().join("tunctl-wg");
        std::os::unix::fs::symlink(fs::canonicalize(program()).unwrap(), &ours).unwrap();
        let socket = Socket::path_of(&name.parse().unwrap());
        // wg-quick looks for programs in its own directory first.
        fs::copy(find("wg-quick"), directory.path().join("wg-quick")).unwrap();
        let shim = directory.path().join("ip");
        fs::write(&shim, IP_WITHOUT_WIREGUARD).unwrap();
        fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let program = match program_kind {
            Program::Ours => ours,
            Program::WireguardGo => find("wireguard-go"),
        };
        let (name, node) = (name.to_owned(), node.clone());
        let (private, public) = (String::new(), String::new());
        let mut end = Self { node, name, public, private, number, program, socket, directory };
        end.make_key();
        end
    }

    /// Makes another key; gives the file that has the private one.
    pub fn make_key(&mut self) -> String {
        self.private = self.wg("genkey", "").trim().into();
        self.public = self.wg("pubkey", &self.private).trim().into();
        self.file("private", &self.private)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Gives the section of the interface, as `wg` reads it.
    pub fn interface(&self) -> String {
        format!("[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n", self.private)
    }

    /// Gives the section for this end, in the configuration of another.
    pub fn as_peer(&self) -> String {
        let [v4, v6] = overlay(self.number);
        let (address, public) = (self.node.address, &self.public);
        format!(
            "[Peer]\nPublicKey = {public}\nAllowedIPs = {v4}/32, {v6}/128\n\
             Endpoint = {address}:{PORT}\n"
        )
    }

    /// Brings the interface up by `wg-quick`, with these peers.
    #[track_caller]
    pub fn up(&self, peers: &[&Self]) {
        let [v4, v6] = overlay(self.number);
        let peers: String = peers.iter().map(|peer| peer.as_peer()).collect();
        let text = format!("{}Address = {v4}/24, {v6}/64\n{peers}", self.interface());
        self.file(&format!("{}.conf", self.name), &text);
        self.wg_quick("up");
    }

    /// Takes the interface down by `wg-quick`, and waits until nothing is left.
    #[track_caller]
    pub fn down(&self) {
        let pid = self.pid();
        self.wg_quick("down");
        self.until_gone(pid);
    }

    #[track_caller]
    fn wg_quick(&self, verb: &str) {
        let configuration = self.directory.path().join(format!("{}.conf", self.name));
        let mut command = Command::new("bash");
        command.arg(self.directory.path().join("wg-quick")).arg(verb).arg(configuration);
        command.env("WG_QUICK_USERSPACE_IMPLEMENTATION", &self.program);
        let output = self.output(&mut command, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Gives the program as somebody calls it who waits for its end.
    pub fn foreground(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--foreground").arg(&self.name);
        command.env_remove("LOG_LEVEL").env_remove("WG_PROCESS_FOREGROUND");
        command
    }

    /// Starts the program without `wg-quick`, and waits until it answers.
    pub fn start(&self) -> Child {
        let child = self.node.host.spawn(&mut self.foreground()).unwrap();
        until_true("the socket answers", || UnixStream::connect(&self.socket).is_ok());
        child
    }

    /// Gives the process that made the socket.
    pub fn pid(&self) -> u32 {
        let stream = UnixStream::connect(&self.socket).unwrap();
        getsockopt(&stream, sockopt::PeerCredentials).unwrap().pid() as u32
    }

    #[track_caller]
    pub fn until_gone(&self, pid: u32) {
        until_true("the socket is gone", || !self.socket.exists());
        until_true("the interface is gone", || {
            let show = format!("link show dev {}", self.name);
            !try_run(&self.node.host, "ip", &show).status.success()
        });
        until_true("the process has ended", || has_ended(pid));
    }

    /// Runs `wg` with these words, and gives what it prints.
    #[track_caller]
    pub fn wg(&self, line: &str, input: &str) -> String {
        self.try_wg(line, input).unwrap_or_else(|error| panic!("wg {line}: {error}"))
    }

    /// Runs `wg` and gives what it prints, or what it complains of.
    pub fn try_wg(&self, line: &str, input: &str) -> Result<String, String> {
        let mut command = Command::new("wg");
        command.args(line.split_whitespace()).env("WG_HIDE_KEYS", "never");
        let output = self.output(&mut command, input);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Changes the interface: `wg set`.
    #[track_caller]
    pub fn set(&self, words: &str) {
        self.wg(&format!("set {} {words}", self.name), "");
    }

    /// Gives what `wg show` says of the interface and of each peer, word by word.
    #[track_caller]
    pub fn dump(&self) -> Vec<Vec<String>> {
        let text = self.wg(&format!("show {} dump", self.name), "");
        text.lines().map(|line| line.split('\t').map(String::from).collect()).collect()
    }

    /// Gives what `wg show` says of a peer: key, preshared key, endpoint, addresses, handshake,
    /// received and sent bytes, keepalive.
    #[track_caller]
    pub fn peer(&self, public: &str) -> Vec<String> {
        let dump = self.dump();
        dump.into_iter().skip(1).find(|peer| peer[0] == public).expect("the peer is there")
    }

    /// Gives the time of the only peer's last handshake, exactly.
    pub fn handshake(&self) -> (u64, u32) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(b"get=1\n\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let (secs, nanos) = ("last_handshake_time_sec=", "last_handshake_time_nsec=");
        (
            value(secs).map_or(0, |it| it.parse().unwrap()),
            value(nanos).map_or(0, |it| it.parse().unwrap()),
        )
    }

    /// Waits for a handshake that is newer than `former`.
    #[track_caller]
    pub fn until_handshake_after(&self, former: (u64, u32)) {
        until("a newer handshake", || (self.handshake() > former).then_some(()));
    }

    fn output(&self, command: &mut Command, input: &str) -> Output {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.node.host.spawn(command).unwrap();
        let mut stdin = child.stdin.take().expect("piped above");
        // A program that ends without reading it has said why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(program));
    found.into_iter().find(|path| path.exists()).unwrap()
}
