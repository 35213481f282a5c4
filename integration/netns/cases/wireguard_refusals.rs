//! What WireGuard refuses: other keys, what comes again, what was changed; each under its name.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::wireguard::{NEEDS_BORINGTUN, NEEDS_GO};
use crate::daemon::Daemon;
use crate::frames::Frames;
use crate::harness::{Case, each};
use crate::need::{Need, OURS};
use crate::pair::{Pair, overlay};
use crate::place::{Family, Node, UNDERLAY, ping, run, try_run, two_nodes};
use crate::program::Brand;
use crate::wait;
use crate::wireguard::{OTHER_PRESHARED, PORT, Plan, STRANGER, Speaker};

pub fn cases() -> Vec<Case> {
    let ours = [
        Case::over_both("wireguard_wrong_keys_are_refused", |family| {
            wrong_keys(family, Speaker::Tun);
        }),
        Case::over_both("wireguard_datagram_that_comes_again_is_refused", replays),
        Case::over_both("wireguard_datagram_that_was_changed_is_refused", changes),
    ];
    let go = [Case::over_both("wireguard_wrong_keys_are_refused_with_wireguard_go", |family| {
        wrong_keys(family, Speaker::Program(Brand::WireguardGo));
    })];
    let boringtun =
        [Case::over_both("wireguard_wrong_keys_are_refused_with_boringtun", |family| {
            wrong_keys(family, Speaker::Program(Brand::Boringtun));
        })];
    let boringtun = each(boringtun, |case| case.needs(NEEDS_BORINGTUN).needs(OURS));
    let go = each(go, |case| case.needs(NEEDS_GO).needs(OURS));
    each(ours, |case| case.needs(OURS).needs(&[Need::Program("ethtool")]))
        .into_iter()
        .chain(go)
        .chain(boringtun)
        .collect()
}

/// Our end counts `reason`, and nothing crosses.
#[track_caller]
fn refused(plan: &Plan, reason: &str) {
    let pair = plan.launch(two_nodes(plan.family), None);
    let from = usize::from(!plan.ends[0].knows_endpoint);
    let echo =
        || try_run(pair.host(from), "ping", &format!("-n -c 1 -W 1 {}", overlay(1 - from)[0]));
    wait::until_true(&format!("{reason} is counted"), || {
        assert!(!echo().status.success(), "an echo crosses in spite of {reason}");
        pair.daemon(0).dropped(reason) > 0
    });
    let peers = pair.daemon(0).query("peers");
    assert!(peers[0]["last_handshake_secs"].is_null(), "{peers}");
    assert_eq!(peers[0]["received_packets"], 0, "{peers}");
}

fn wrong_keys(family: Family, far: Speaker) {
    let plan = || Plan::new(family, [Speaker::Tun, far]);
    // The other end has a private key that we do not know, and begins.
    let foreign = plan().begun_by(1).end(1, |end| end.own = STRANGER);
    refused(&foreign, "wireguard_unknown_key");
    // The other end takes somebody else's public key for ours.
    let mistaken = plan().begun_by(1).end(1, |end| end.far = STRANGER.public);
    refused(&mistaken, "wireguard_mac");
    // The preshared keys differ: who begins sees it in the answer.
    let other = plan().preshared().begun_by(0);
    refused(&other.end(1, |end| end.preshared = Some(OTHER_PRESHARED)), "wireguard_handshake");
    let missing = plan().preshared().begun_by(0);
    refused(&missing.end(1, |end| end.preshared = None), "wireguard_handshake");
}

/// Messages of WireGuard as they went over the wire.
struct Wire {
    frames: Frames,
    header: usize,
}

impl Wire {
    fn open(family: Family, node: &Node) -> Self {
        // What is sent again as it came needs its checksum.
        run(&node.host, "ethtool", &format!("-K {UNDERLAY} tx off"));
        let header = if family == Family::V4 { 14 + 20 + 8 } else { 14 + 40 + 8 };
        Self { frames: Frames::open(&node.host, UNDERLAY), header }
    }

    /// Gives the next frame with a message of this type from a node.
    #[track_caller]
    fn message(&self, kind: u8, from: &Node) -> Vec<u8> {
        let source = match from.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        self.frames.expect(&format!("a message of type {kind}"), |frame| {
            let at = if source.len() == 4 { 26 } else { 22 };
            frame.get(at..at + source.len()) == Some(&source)
                && frame.get(self.header - 8..self.header - 6) == Some(&PORT.to_be_bytes())
                && frame.get(self.header..self.header + 4) == Some(&[kind, 0, 0, 0])
        })
    }
}

/// `send` makes the daemon count `reason`, and the tunnel goes on where it was.
#[track_caller]
fn counts(pair: &Pair, end: usize, reason: &str, send: impl Fn()) {
    let daemon = pair.daemon(end);
    let (before, place) = (daemon.dropped(reason), endpoint(daemon));
    send();
    wait::until_true(&format!("{reason} is counted"), || daemon.dropped(reason) > before);
    assert_eq!(daemon.dropped(reason), before + 1);
    assert_eq!(endpoint(daemon), place);
    ping(pair.host(1 - end), overlay(end)[0], "");
}

fn endpoint(daemon: &Daemon) -> String {
    daemon.query("peers")[0]["endpoint"].to_string()
}

/// Somebody else on the wire sends as well: another port of the same host.
fn elsewhere(pair: &Pair, end: usize) -> (UdpSocket, SocketAddr) {
    let node = &pair.nodes[1 - end];
    let socket = node.host.run(|| UdpSocket::bind((node.address, 0))).unwrap();
    (socket, SocketAddr::new(pair.nodes[end].address, PORT))
}

fn replays(family: Family) {
    let nodes = two_nodes(family);
    let wires = nodes.each_ref().map(|node| Wire::open(family, node));
    let plan = Plan::new(family, [Speaker::Tun, Speaker::Tun]).begun_by(0);
    let pair = plan.launch(nodes, None);
    plan.begin(&pair);
    let initiation = wires[1].message(1, &pair.nodes[0]);
    let data = wires[1].message(4, &pair.nodes[0]);
    let answer = wires[0].message(2, &pair.nodes[1]);
    let (socket, target) = elsewhere(&pair, 1);
    let header = wires[1].header;
    for (reason, frame) in [("wireguard_replayed", &data), ("wireguard_handshake", &initiation)] {
        counts(&pair, 1, reason, || pair_frames(&pair, 0).send(frame));
        counts(&pair, 1, reason, || {
            socket.send_to(&frame[header..], target).unwrap();
        });
    }
    let (socket, target) = elsewhere(&pair, 0);
    counts(&pair, 0, "wireguard_late_handshake", || pair_frames(&pair, 1).send(&answer));
    counts(&pair, 0, "wireguard_late_handshake", || {
        socket.send_to(&answer[header..], target).unwrap();
    });
}

fn pair_frames(pair: &Pair, end: usize) -> Frames {
    Frames::open(pair.host(end), UNDERLAY)
}

fn changes(family: Family) {
    let nodes = two_nodes(family);
    let wire = Wire::open(family, &nodes[1]);
    let plan = Plan::new(family, [Speaker::Tun, Speaker::Tun]).begun_by(0);
    let pair = plan.launch(nodes, None);
    plan.begin(&pair);
    let initiation = wire.message(1, &pair.nodes[0])[wire.header..].to_vec();
    let data = wire.message(4, &pair.nodes[0])[wire.header..].to_vec();
    let flipped = |message: &[u8], at: usize| {
        let mut changed = message.to_vec();
        changed[at] ^= 1;
        changed
    };
    // A counter that is not used up: the window would refuse the message before anything else.
    let mut later = data.clone();
    later[8..16].copy_from_slice(&[0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    let mut last = data.clone();
    last[8..16].copy_from_slice(&[0xff; 8]);
    let bad = [
        ("wireguard_authentication", flipped(&later, 16)),
        ("wireguard_authentication", flipped(&later, later.len() - 1)),
        ("wireguard_authentication", later),
        ("wireguard_message_limit", last),
        ("wireguard_unknown_index", flipped(&data, 6)),
        ("wireguard_mac", flipped(&initiation, 40)),
        ("wireguard_mac", flipped(&initiation, 120)),
        ("wireguard_malformed", flipped(&data, 1)),
        ("wireguard_malformed", initiation[..147].to_vec()),
        ("wireguard_malformed", data[..31].to_vec()),
        ("wireguard_malformed", vec![4]),
    ];
    let (socket, target) = elsewhere(&pair, 1);
    for (reason, message) in bad {
        counts(&pair, 1, reason, || {
            socket.send_to(&message, target).unwrap();
        });
    }
}
