//! Floods of the WireGuard port: what they cost those who have a session, and whether somebody new
//! still gets one.

use std::net::SocketAddr;
use std::time::Duration;

use crate::daemon::{Config, Daemon};
use crate::flooding::{Flood, SOURCES, beside, kept};
use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::pair::VNI;
use crate::place::{Family, Node, ping, three_nodes};
use crate::tcp::{self, Rate};
use crate::wg_crowd::{self, Crowd, SERVER};
use crate::wg_flood::Kind;
use crate::wireguard::{PORT, STRANGER};
use crate::{udp, wait};

/// Bytes of a transfer: of the test, and of each one that is measured.
const TESTED: u64 = 64 << 20;
const MEASURED: u64 = 256 << 20;

/// What a transfer keeps of its rate beside the same flood to nobody, at least.
const KEPT: f64 = 0.7;

/// Members that may ask for a session during a flood.
const MEMBERS: usize = 8;

/// Somebody new is told to prove where he is, and tries again after five seconds; he may be one of
/// the few who share their budget with a source of the flood.
const PATIENCE: Duration = Duration::from_secs(17);

pub fn cases() -> Vec<Case> {
    let kinds = [("garbage", Kind::Garbage), ("initiations", Kind::Initiations)];
    let cases = kinds.map(|(name, kind)| {
        let tested = format!("wireguard_goes_on_in_a_flood_of_{name}");
        let measured = [20_000, 100_000].map(|rate| {
            let name = format!("measure_wireguard_in_a_flood_of_{rate}_{name}_a_second");
            Case::new(&name, move || measure(kind, rate))
        });
        [Case::new(&tested, move || goes_on(kind))].into_iter().chain(measured).collect()
    });
    each(cases, |case| case.needs(OURS).alone())
}

/// A daemon, its peer of long standing, and somebody who floods it.
struct Scene {
    /// Our peer's, ours, and the flooder's.
    nodes: [Node; 3],
    daemon: Daemon,
    _peer: Daemon,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let nodes = three_nodes(Family::V4);
        // What goes back to the flood's sources costs what it costs, and ends there.
        nodes[1].ip(&format!("route add {SOURCES} via {}", nodes[2].address));
        let far = format!(
            "[[peer]]\nname = \"far\"\ntransport = \"wireguard\"\npublic_key = \"{}\"\n\
             allowed_ips = [\"10.64.0.2/32\"]",
            STRANGER.public
        );
        let daemon = Daemon::start(&nodes[1], &wg_crowd::config(&nodes[1], MEMBERS, &far));
        let near = format!(
            "[[peer]]\nname = \"near\"\ntransport = \"wireguard\"\npublic_key = \"{}\"\n\
             endpoint = \"{}\"\nallowed_ips = [\"{SERVER}/32\"]",
            wg_crowd::server_key(),
            SocketAddr::new(nodes[1].address, PORT)
        );
        let config = Config::bare(&nodes[0])
            .secret("key", STRANGER.private)
            .tables("[wireguard]\nprivate_key_file = \"key\"\n")
            .network("tun", "tun0", VNI, "addresses = [\"10.64.0.2/10\"]")
            .tables(&near);
        let peer = Daemon::start(&nodes[0], &config);
        ping(&nodes[0].host, SERVER.into(), "");
        Self { nodes, daemon, _peer: peer }
    }

    fn flood(&self, kind: Kind, port: u16) -> Flood {
        Flood::new(&self.nodes[2], &self.nodes[1], port, |random| kind.message(random))
    }

    fn transfer(&self, bytes: u64) -> Rate {
        tcp::send(&self.nodes[0].host, &self.nodes[1].host, SERVER.into(), bytes)
    }

    /// Has a member that was never there before ask for a session.
    #[track_caller]
    fn newcomer(&self, number: usize) {
        let numbers = number..=number;
        let mut crowd = Crowd::new(&self.nodes[0].host, self.nodes[1].address, numbers);
        let times = crowd.connect(false, PATIENCE);
        note(&format!("a newcomer after {:.2?}, cookies: {}", times[0], crowd.members[0].cookies));
    }
}

fn goes_on(kind: Kind) {
    let scene = Scene::new();
    let flood = scene.flood(kind, PORT);
    let reasons = match kind {
        Kind::Garbage => ["wireguard_malformed", "wireguard_mac", "wireguard_unknown_index"],
        Kind::Initiations => ["wireguard_under_load", "wireguard_handshake", "wireguard_handshake"],
    };
    let work = || {
        wait::until_true("the flood is counted", || {
            reasons.iter().all(|reason| scene.daemon.dropped(reason) > 1000)
        });
        scene.newcomer(0);
        scene.transfer(TESTED)
    };
    let (transfer, rate) = beside(&flood, 20_000, work);
    note(&format!("{transfer} beside {rate:.0} datagrams/s"));
    scene.newcomer(1);
}

/// Compares transfers beside a flood with those beside the same flood to a socket that discards it.
fn measure(kind: Kind, rate_pps: u64) {
    let scene = Scene::new();
    let discards = udp::socket(&scene.nodes[1].host, scene.nodes[1].address);
    let ports = [discards.local_addr().unwrap().port(), PORT];
    let floods = ports.map(|port| scene.flood(kind, port));
    let ratio = kept(&scene.daemon, &floods, rate_pps, || scene.transfer(MEASURED));
    let (_, rate) = beside(&floods[1], rate_pps, || {
        for number in 0..4 {
            scene.newcomer(number);
        }
    });
    note(&format!("newcomers beside {rate:.0} datagrams/s"));
    assert!(ratio >= KEPT, "{ratio:.3} of the control's rate");
}
