//! A daemon without devices: the library's API with a worker that gives known answers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tunctl::api::query::{self, QueryReceiver};
use tunctl::api::report::{
    DeviceKind, DeviceOffload, Drops, FdbEntry, FdbPage, NamedDrops, Network, Peer, QuicConnection,
    Route, Socket, SocketCarrier, State, Worker,
};
use tunctl::api::{self, Answer, Bound, Identity, Limits, Query};
use tunctl::drops::{DropCounters, DropReason};

/// What a fake daemon answers with.
pub type Answers = Box<dyn Fn(&Query) -> Answer + Send>;

/// A served API socket; it ends with this value.
pub struct FakeDaemon {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    _directory: TempDir,
}

impl FakeDaemon {
    /// Serves [`answer`].
    pub fn start() -> Self {
        Self::with(Limits::default(), Box::new(answer))
    }

    /// Serves other answers, or within other limits.
    pub fn with(limits: Limits, answers: Answers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("site-a.sock");
        let bound = Bound::claim(&path).unwrap();
        let (bell, rung) = mpsc::channel();
        let wake = Arc::new(move || {
            let _ = bell.send(());
        });
        let (sender, receiver) = query::channel(wake);
        let worker = thread::spawn(move || work(&rung, receiver, &answers));
        let (stop, stopped) = oneshot::channel();
        let server = thread::spawn(move || {
            let identity = Identity { name: "site-a".into(), since: Instant::now() };
            let listener = bound.listener().unwrap();
            runtime().block_on(async {
                let listener = UnixListener::from_std(listener).unwrap();
                tokio::select! {
                    never = api::serve(listener, identity, sender, limits) => match never {},
                    _ = stopped => {}
                }
            });
        });
        Self { path, stop: Some(stop), threads: vec![worker, server], _directory: directory }
    }

    /// Gives the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "the fake daemon panicked");
        }
    }
}

/// Answers until the last sender, and the bell with it, is gone.
fn work(rung: &mpsc::Receiver<()>, mut receiver: QueryReceiver, answers: &Answers) {
    while rung.recv().is_ok() {
        while let Some(question) = receiver.try_next() {
            let answer = answers(question.query());
            question.answer(answer);
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Number of entries in the table of the network `office`: more than one part.
pub const OFFICE_ENTRIES: u64 = 1200;

/// What the fake daemon knows: a tap network and a tun network, two peers.
pub fn answer(query: &Query) -> Answer {
    match query {
        Query::Status => Answer::Status(State {
            networks: vec![office(), routed()],
            underlay: sockets(),
            drops_total: 7,
            worker: Worker::default(),
        }),
        Query::Peers => Answer::Peers(vec![site_b(), site_c(), site_d()]),
        Query::Fdb { network, cursor, max } => match network.as_str() {
            "office" => Answer::Fdb(office_page(*cursor, u64::from(*max))),
            "routed" => Answer::Fdb(FdbPage { entries: vec![host()], next: None }),
            _ => Answer::NoSuchNetwork(network.clone()),
        },
        Query::Routes => Answer::Routes(routes()),
        Query::Drops => Answer::Drops(drops()),
    }
}

fn office() -> Network {
    Network {
        name: "office".into(),
        vni: 42,
        device: DeviceKind::Tap,
        interface: "tap-office".into(),
        mtu: 1450,
        addresses: vec!["10.9.0.1/24".parse().unwrap(), "fd00:9::1/64".parse().unwrap()],
        peers: 2,
        entries: OFFICE_ENTRIES,
        max_entries: 131_072,
        device_offload: DeviceOffload {
            gso: true,
            uso: false,
            csum: true,
            gro: true,
            big_tcp: false,
            refused: vec!["uso: EINVAL".into()],
        },
        sent_packets: 1000,
        sent_bytes: 1_500_000,
        received_packets: 2,
        received_bytes: 120,
        received_bad_checksums: 1,
    }
}

fn routed() -> Network {
    Network {
        name: "routed".into(),
        vni: 16_777_215,
        device: DeviceKind::Tun,
        interface: "tun-routed".into(),
        mtu: 1464,
        addresses: Vec::new(),
        peers: 1,
        entries: 1,
        device_offload: DeviceOffload::default(),
        sent_packets: 0,
        sent_bytes: 0,
        received_packets: 0,
        received_bytes: 0,
        ..office()
    }
}

fn sockets() -> Vec<Socket> {
    let vxlan = Socket {
        address: "[::]:4789".parse().unwrap(),
        carrier: SocketCarrier::Vxlan,
        gso: false,
        gro: true,
        refused: Vec::new(),
        receive_buffer_bytes: 4_194_304,
        send_buffer_bytes: 0,
    };
    let sending = Socket {
        address: "[::]:49152".parse().unwrap(),
        carrier: SocketCarrier::Sending,
        gso: true,
        gro: false,
        receive_buffer_bytes: 0,
        send_buffer_bytes: 212_992,
        ..vxlan.clone()
    };
    vec![vxlan, sending]
}

fn site_b() -> Peer {
    Peer {
        name: "site-b".into(),
        transport: "vxlan".into(),
        public_key: None,
        last_handshake_secs: None,
        endpoint: Some("192.0.2.2:4789".parse().unwrap()),
        local: Some("192.0.2.1".parse().unwrap()),
        path_mtu: Some(1500),
        networks: vec!["office".into(), "routed".into()],
        entries: 1200,
        sent_packets: 1000,
        sent_bytes: 1_500_000,
        received_packets: 2,
        received_bytes: 120,
        last_received_secs: Some(62),
        drops: 4,
        quic: None,
    }
}

fn site_c() -> Peer {
    Peer {
        name: "site-c".into(),
        transport: "quic".into(),
        endpoint: Some("[2001:db8::3]:4433".parse().unwrap()),
        local: None,
        networks: vec!["office".into()],
        entries: 0,
        sent_packets: 0,
        sent_bytes: 0,
        received_packets: 0,
        received_bytes: 0,
        last_received_secs: None,
        drops: 0,
        quic: Some(QuicConnection {
            dialled: true,
            certificate_sha256: None,
            certificate_expires: Some(1_700_000_000),
            group: None,
            cipher: None,
            rtt_us: 0,
            window_bytes: 65_536,
            lost_packets: 0,
        }),
        ..site_b()
    }
}

fn site_d() -> Peer {
    Peer {
        name: "site-d".into(),
        transport: "wireguard".into(),
        public_key: Some("C3s6OaSQxKHqZYgvw3Inv/3ruscxCDd4+wCW7RY1bys=".into()),
        last_handshake_secs: Some(119),
        endpoint: None,
        quic: None,
        ..site_c()
    }
}

fn office_page(cursor: u64, max: u64) -> FdbPage {
    let end = OFFICE_ENTRIES.min(cursor + max);
    let entry = |number: u64| FdbEntry {
        network: "office".into(),
        vlan: (number % 2) as u16 * 7,
        mac: Some(format!("02:00:00:00:{:02x}:{:02x}", number >> 8, number & 0xff)),
        ip: None,
        place: if number == 0 { "local".into() } else { "site-b".into() },
        is_static: number == 0,
        idle_secs: (number > 0).then_some(number % 60),
        moves: 0,
    };
    FdbPage {
        entries: (cursor..end).map(entry).collect(),
        next: (end < OFFICE_ENTRIES).then_some(end),
    }
}

fn host() -> FdbEntry {
    FdbEntry {
        network: "routed".into(),
        vlan: 0,
        mac: None,
        ip: Some("10.10.0.9".parse().unwrap()),
        place: "site-b".into(),
        is_static: false,
        idle_secs: Some(3),
        moves: 1,
    }
}

fn routes() -> Vec<Route> {
    let route = |prefix: &str, peers: &[&str]| Route {
        network: "routed".into(),
        prefix: prefix.parse().unwrap(),
        peers: peers.iter().map(|&name| name.to_owned()).collect(),
        shared: peers.len() > 1,
    };
    vec![route("10.10.0.0/16", &["site-b", "site-c"]), route("fd00:10::/64", &["site-b"])]
}

fn drops() -> Drops {
    let mut all = DropCounters::default();
    all.count(DropReason::UnknownPeer, 3);
    let mut of_peer = DropCounters::default();
    of_peer.count(DropReason::SourceNotAllowed, 4);
    all.count(DropReason::SourceNotAllowed, 4);
    Drops {
        networks: NamedDrops::new("office", &of_peer).into_iter().collect(),
        peers: NamedDrops::new("site-b", &of_peer).into_iter().collect(),
        ..Drops::new(&all)
    }
}
