//! What `wg` says to the socket, and what it makes of the answers.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use tunctl::wg::{InterfaceName, Limits, Socket, serve};

use crate::harness::{Case, each};
use crate::need::Need;
use crate::wg_fake::Fake;

pub fn cases() -> Vec<Case> {
    let cases = [vec![
        Case::new("wg_shows_what_it_has_set", set_and_show),
        Case::new("wg_replaces_and_synchronises_a_configuration", configurations),
        Case::new("wg_tells_what_was_refused", refusals),
        Case::new("wg_sets_thousands_of_peers_at_once", many_peers),
    ]];
    each(cases, |case| case.needs(&[Need::Program("wg")]))
}

/// Keys: private ones with their public ones, as `wg pubkey` gives them.
const PRIVATE: &str = "YAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const PEER: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
const OTHER: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";
const PSK: &str = "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=";

fn set_and_show() {
    let name = "wgt-show";
    let _server = Server::start(name);
    let keys = tempfile::tempdir().unwrap();
    let file = |key: &str, text: &str| {
        let path = keys.path().join(key);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (private, psk) = (file("private", PRIVATE), file("psk", PSK));
    assert_eq!(wg(&format!("show {name} dump"), ""), "(none)\t(none)\t0\toff\n");
    wg(&format!("set {name} listen-port 51820 fwmark 0x33 private-key {private}"), "");
    wg(
        &format!(
            "set {name} peer {PEER} preshared-key {psk} endpoint [2001:db8::1]:9 \
             persistent-keepalive 25 allowed-ips 10.1.2.3/8,fd00::/64 peer {OTHER} allowed-ips 10.9.0.0/16"
        ),
        "",
    );
    let dump = wg(&format!("show {name} dump"), "");
    let public = wg("pubkey", PRIVATE);
    let expected = [
        format!("{PRIVATE}\t{}\t51820\t0x33", public.trim()),
        format!("{PEER}\t{PSK}\t[2001:db8::1]:9\t10.0.0.0/8,fd00::/64\t0\t0\t0\t25"),
        format!("{OTHER}\t(none)\t(none)\t10.9.0.0/16\t0\t0\t0\toff"),
    ];
    assert_eq!(dump.lines().collect::<Vec<_>>(), expected);
    assert!(wg("show interfaces", "").split_whitespace().any(|found| found == name));
    wg(&format!("set {name} fwmark off peer {PEER} remove"), "");
    assert_eq!(wg(&format!("show {name} peers"), ""), format!("{OTHER}\n"));
    assert_eq!(wg(&format!("show {name} fwmark"), ""), "off\n");
}

fn configurations() {
    let name = "wgt-conf";
    let _server = Server::start(name);
    let peer = |key: &str, net: &str| format!("\n[Peer]\nPublicKey = {key}\nAllowedIPs = {net}\n");
    let interface = format!("[Interface]\nListenPort = 5\nPrivateKey = {PRIVATE}\n");
    let first = format!("{interface}{}", peer(PEER, "10.1.0.0/16"));
    wg(&format!("setconf {name} /dev/stdin"), &first);
    assert_eq!(wg(&format!("showconf {name}"), ""), first);
    wg(&format!("addconf {name} /dev/stdin"), &peer(OTHER, "10.2.0.0/16"));
    assert_eq!(wg(&format!("show {name} peers"), ""), format!("{PEER}\n{OTHER}\n"));
    let third = format!("{interface}{}", peer(OTHER, "10.3.0.0/16"));
    wg(&format!("syncconf {name} /dev/stdin"), &third);
    assert_eq!(wg(&format!("showconf {name}"), ""), third);
    wg(&format!("setconf {name} /dev/stdin"), "[Interface]\n");
    assert_eq!(wg(&format!("show {name} peers"), ""), "");
}

fn refusals() {
    let name = "wgt-fault";
    let _server = Server::start(name);
    let ended = run_wg(&format!("set {name} listen-port 1"), "");
    assert_eq!(ended, Err("Unable to modify interface: Address already in use\n".into()));
}

fn many_peers() {
    let name = "wgt-many";
    let _server = Server::start(name);
    let mut configuration = String::from("[Interface]\n");
    let keys: Vec<_> = (0..4_000u32).map(|i| format!("{:0>5}{}", i, &PEER[5..])).collect();
    for key in &keys {
        configuration.push_str(&format!("[Peer]\nPublicKey = {key}\n"));
    }
    wg(&format!("setconf {name} /dev/stdin"), &configuration);
    let shown = wg(&format!("show {name} peers"), "");
    assert_eq!(shown.lines().collect::<Vec<_>>(), keys);
}

/// A socket with a fake interface behind it, served by a thread of its own.
struct Server {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(name: &str) -> Self {
        let name: InterfaceName = name.parse().unwrap();
        let socket = Socket::claim(&Socket::path_of(&name)).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = socket.listener().unwrap();
                let fake = Arc::new(Fake::default());
                tokio::select! {
                    never = serve(listener, fake, Limits::default()) => match never {},
                    _ = stopped => {}
                }
            });
        };
        Self { stop: Some(stop), thread: Some(thread::spawn(work)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

/// Runs `wg` with the words of `line` and gives what it prints.
#[track_caller]
fn wg(line: &str, input: &str) -> String {
    run_wg(line, input).unwrap_or_else(|error| panic!("wg {line}: {error}"))
}

/// Runs `wg` and gives what it prints, or what it complains of.
fn run_wg(line: &str, input: &str) -> Result<String, String> {
    let mut command = Command::new("wg");
    command.args(line.split_whitespace()).env("WG_HIDE_KEYS", "never");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
