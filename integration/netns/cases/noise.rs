//! Bad input on the underlay: each datagram ends in a counted drop reason, and traffic goes on.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use serde_json::Value;

use crate::daemon::{Config, Daemon};
use crate::frames::{self, ethernet};
use crate::harness::{Case, each, note};
use crate::need::OURS;
use crate::pair::VNI;
use crate::place::{Family, Node, three_nodes};
use crate::stream::Random;
use crate::{udp, wait};

/// Datagrams of noise for each length and sender.
const DATAGRAMS: usize = 10_000;

/// Datagrams of one send call: as many as UDP_SEGMENT takes.
pub const RUN: usize = 50;

/// Runs that may be under way: they fit in a receive buffer of the default size.
pub const RUNS_UNDER_WAY: usize = 10;

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("noise_of_every_length_is_dropped_and_counted", noise),
        Case::over_both("bad_datagrams_are_dropped_for_their_reason", reasons),
    ];
    each(cases, |case| case.needs(OURS).alone())
}

/// Our node, its peer (both with a TAP), and somebody whom it does not know.
pub struct Scene {
    pub ours: Node,
    pub peer: Node,
    pub stranger: Node,
    pub daemon: Daemon,
    _peer_daemon: Daemon,
}

impl Scene {
    pub fn new(family: Family) -> Self {
        let [ours, peer, stranger] = three_nodes(family);
        let config = |node: &Node, number: u8, far: &Node, keys: &str| {
            let addresses =
                format!("addresses = [\"10.9.0.{number}/24\", \"fd00:9::{number}/64\"]");
            Config::new(node).network("tap", "tap0", VNI, &addresses).peer(
                "peer",
                far.address,
                keys,
            )
        };
        let allowed = "allowed_ips = [\"10.9.0.2/32\", \"fd00:9::2/128\", \"fe80::/10\"]";
        let daemon = Daemon::start(&ours, &config(&ours, 1, &peer, allowed));
        let peer_daemon = Daemon::start(&peer, &config(&peer, 2, &ours, ""));
        Self { ours, peer, stranger, daemon, _peer_daemon: peer_daemon }
    }

    pub fn target(&self) -> SocketAddr {
        SocketAddr::new(self.ours.address, 4789)
    }
}

/// Gives any address of the family of another.
pub fn any(family: IpAddr) -> IpAddr {
    if family.is_ipv4() { [0; 4].into() } else { [0; 16].into() }
}

fn total(daemon: &Daemon) -> u64 {
    daemon.query("drops")["total"].as_u64().expect("total is a number")
}

fn noise(family: Family) {
    let scene = Scene::new(family);
    let mut random = Random::new(10);
    for sender in [&scene.peer, &scene.stranger] {
        let socket = udp::socket(&sender.host, any(scene.target().ip()));
        let mut expected = total(&scene.daemon);
        for len in 0..=100 {
            let mut sent = 0;
            while sent < DATAGRAMS {
                for _ in 0..RUNS_UNDER_WAY {
                    send_noise(&socket, scene.target(), &mut random, len);
                    sent += RUN;
                }
                // The kernel's own traffic on the TAP may be dropped as well: at least so many.
                let at_least = expected + sent as u64;
                wait::until_true("each datagram is counted", || total(&scene.daemon) >= at_least);
            }
            expected += sent as u64;
        }
        note(&format!("{} drops", total(&scene.daemon)));
    }
    assert!(scene.daemon.dropped("unknown_peer") >= 101 * DATAGRAMS as u64);
    // Those of 1 to 7 bytes arrive as runs: the run has room for a header, which is wrong.
    assert!(scene.daemon.dropped("vxlan_too_short") >= DATAGRAMS as u64);
}

/// Sends a run of random datagrams of `len` bytes.
pub fn send_noise(socket: &UdpSocket, to: SocketAddr, random: &mut Random, len: usize) {
    match len {
        0 => (0..RUN).for_each(|_| assert_eq!(socket.send_to(&[], to).unwrap(), 0)),
        _ => udp::send_run(socket, to, &random.bytes(RUN * len), len as u16),
    }
}

/// A VXLAN datagram with a frame.
fn vxlan(flags: u8, vni: u32, frame: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    [&[flags, 0, 0, 0, a, b, c, 0], frame].concat()
}

/// An UDP packet over IPv4 in a frame; no checksum of its own.
fn udp_frame(to: [u8; 6], from: [u8; 6], source: [u8; 4], target: [u8; 4], port: u16) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0];
    ip.extend([source, target].concat());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let [high, low] = port.to_be_bytes();
    let udp = [0xc0, 0, high, low, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    ethernet(to, from, &[], 0x0800, &[&ip[..], &udp].concat())
}

fn reasons(family: Family) {
    let scene = Scene::new(family);
    let ours = frames::mac(&scene.ours.host, "tap0");
    let theirs = frames::mac(&scene.peer.host, "tap0");
    let good = udp_frame(ours, theirs, [10, 9, 0, 2], [10, 9, 0, 1], 9);
    let from = |mac: [u8; 6]| vxlan(8, VNI, &udp_frame(ours, mac, [10, 9, 0, 2], [10, 9, 0, 1], 9));
    let spoofed = udp_frame(ours, theirs, [10, 9, 0, 77], [10, 9, 0, 1], 9);
    let mut bad = vec![
        ("unknown_vni", vxlan(8, VNI + 1, &good)),
        ("vxlan_flags", vxlan(0, VNI, &good)),
        ("source_invalid", from([0xff; 6])),
        ("source_invalid", from([0x01, 0, 0x5e, 0, 0, 1])),
        ("source_invalid", from([0; 6])),
        ("source_not_allowed", vxlan(8, VNI, &spoofed)),
    ];
    if let IpAddr::V4(endpoint) = scene.ours.address {
        let own = udp_frame(ours, theirs, [10, 9, 0, 2], endpoint.octets(), 4789);
        bad.push(("own_endpoint", vxlan(8, VNI, &own)));
    }
    for len in 0..8 {
        bad.push(("vxlan_too_short", vxlan(8, VNI, &good)[..len].to_vec()));
    }
    for len in 0..good.len() {
        bad.push(("malformed", vxlan(8, VNI, &good[..len])));
    }
    let socket = udp::socket(&scene.peer.host, any(scene.target().ip()));
    for (reason, datagram) in &bad {
        let before = scene.daemon.dropped(reason);
        socket.send_to(datagram, scene.target()).unwrap();
        wait::until_true(&format!("{reason} counts {datagram:02x?}"), || {
            scene.daemon.dropped(reason) > before
        });
    }
    let socket = udp::socket(&scene.stranger.host, any(scene.target().ip()));
    for (_, datagram) in &bad {
        let before = scene.daemon.dropped("unknown_peer");
        socket.send_to(datagram, scene.target()).unwrap();
        wait::until_true("a stranger's datagram counts as such", || {
            scene.daemon.dropped("unknown_peer") > before
        });
    }
    assert_no_entry(&scene.daemon.ask("fdb"), "ff:ff:ff:ff:ff:ff");
}

fn assert_no_entry(table: &Value, mac: &str) {
    let entries = table.as_array().expect("fdb --json is a list");
    assert!(entries.iter().all(|entry| entry["mac"] != mac), "{table}");
}
