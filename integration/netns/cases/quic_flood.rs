//! Floods of the QUIC port: what they cost those who have a connection, and whether somebody new
//! still gets one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::daemon::{Config, Daemon};
use crate::flooding::{Flood, SOURCES, beside, kept};
use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::pair::VNI;
use crate::place::{Family, Node, ping, three_nodes};
use crate::quic_crowd::{Crowd, Issuer, SERVER, give_places};
use crate::quic_flood::Kind;
use crate::quic_pair::PORT;
use crate::tcp::{self, Rate};
use crate::{udp, wait};

/// Bytes of a transfer: of the test, and of each one that is measured.
const TESTED: u64 = 64 << 20;
const MEASURED: u64 = 256 << 20;

/// Datagrams a second.
const RATE: u64 = 20_000;

/// What a transfer keeps of its rate beside the same flood to nobody, at least.
const KEPT: f64 = 0.7;

/// Members that may dial during a flood.
const MEMBERS: usize = 8;

/// The overlay address of the peer of long standing.
const PEER: Ipv4Addr = Ipv4Addr::new(10, 127, 0, 1);

/// Somebody new asks several times, and has to prove where he is.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn cases() -> Vec<Case> {
    let kinds = [("garbage", Kind::Garbage), ("hellos", Kind::Hellos)];
    let cases = kinds.map(|(name, kind)| {
        vec![
            Case::new(&format!("quic_goes_on_in_a_flood_of_{name}"), move || goes_on(kind)),
            Case::new(&format!("measure_quic_flood_of_{name}"), move || measure(kind)),
        ]
    });
    each(cases, |case| case.needs(OURS).alone())
}

/// A daemon, its peer of long standing, and somebody who floods it.
struct Scene {
    /// Our peer's, ours, and the flooder's.
    nodes: [Node; 3],
    issuer: Issuer,
    daemon: Daemon,
    _peer: Daemon,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let nodes = three_nodes(Family::V4);
        // What goes back to the flood's sources costs what it costs, and ends there.
        nodes[1].ip(&format!("route add {SOURCES} via {}", nodes[2].address));
        give_places(&nodes[0], &nodes[1]);
        let issuer = Issuer::new();
        let far = format!(
            "[[peer]]\nname = \"far\"\ntransport = \"quic\"\nallowed_ips = [\"{PEER}/32\"]"
        );
        let daemon = Daemon::start(&nodes[1], &issuer.config(&nodes[1], MEMBERS, &far));
        let paper = issuer.paper("far");
        let near = format!(
            "[quic]\nlisten = \"{}\"\ncertificate_file = \"crt\"\nprivate_key_file = \"key\"\n\
             ca_file = \"ca\"\n[[peer]]\nname = \"hub\"\ntransport = \"quic\"\n\
             endpoint = \"{}\"\nallowed_ips = [\"{SERVER}/32\"]",
            SocketAddr::new(nodes[0].address, PORT),
            SocketAddr::new(nodes[1].address, PORT)
        );
        let config = Config::bare(&nodes[0])
            .secret("crt", &paper.certificate)
            .secret("key", &paper.key)
            .secret("ca", &issuer.certificate())
            .network("tun", "tun0", VNI, &format!("addresses = [\"{PEER}/10\"]"))
            .tables(&near);
        let peer = Daemon::start(&nodes[0], &config);
        wait::until_true("a connection", || peer.query("peers")[0]["last_handshake_secs"].is_u64());
        ping(&nodes[0].host, SERVER.into(), "");
        Self { nodes, issuer, daemon, _peer: peer }
    }

    fn flood(&self, kind: Kind, port: u16) -> Flood {
        Flood::new(&self.nodes[2], &self.nodes[1], port, kind.messages())
    }

    fn transfer(&self, bytes: u64) -> Rate {
        tcp::send(&self.nodes[0].host, &self.nodes[1].host, IpAddr::V4(SERVER), bytes)
    }

    /// Has a member dial that was never there before, from an address that is not known.
    #[track_caller]
    fn newcomer(&self, number: usize) {
        let numbers = number..=number;
        let crowd = Crowd::start(&self.nodes[0].host, &self.nodes[1], &self.issuer, numbers);
        let started = Instant::now();
        wait::until_true("somebody new is connected", || crowd.up() == 1);
        let time = started.elapsed();
        note(&format!("a newcomer after {time:.2?}"));
        assert!(time < PATIENCE, "{time:?}");
    }
}

fn goes_on(kind: Kind) {
    let scene = Scene::new();
    let flood = scene.flood(kind, PORT);
    let reasons = match kind {
        Kind::Garbage => ["quic_malformed", "quic_budget"],
        Kind::Hellos => ["quic_budget", "quic_budget"],
    };
    let work = || {
        wait::until_true("the flood is counted", || {
            reasons.iter().all(|reason| scene.daemon.dropped(reason) > 1000)
        });
        scene.newcomer(0);
        scene.transfer(TESTED)
    };
    let (transfer, rate) = beside(&flood, RATE, work);
    note(&format!("{transfer} beside {rate:.0} datagrams/s"));
    scene.newcomer(1);
}

/// Compares transfers beside a flood with those beside the same flood to a socket that discards it.
fn measure(kind: Kind) {
    let scene = Scene::new();
    let discards = udp::socket(&scene.nodes[1].host, scene.nodes[1].address);
    let ports = [discards.local_addr().unwrap().port(), PORT];
    let floods = ports.map(|port| scene.flood(kind, port));
    let ratio = kept(&scene.daemon, &floods, RATE, || scene.transfer(MEASURED));
    let (_, rate) = beside(&floods[1], RATE, || {
        // Not before what may come at once is used up.
        let before = scene.daemon.dropped("quic_budget");
        wait::until_true("the flood is felt", || {
            scene.daemon.dropped("quic_budget") > before + RATE
        });
        for number in 0..MEMBERS {
            scene.newcomer(number);
        }
    });
    note(&format!("newcomers beside {rate:.0} datagrams/s"));
    assert!(ratio >= KEPT, "{ratio:.3} of the control's rate");
}
