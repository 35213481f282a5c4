//! Three nodes: who gets a frame, and how often.

use std::net::{IpAddr, Ipv4Addr};

use crate::daemon::{Config, Daemon};
use crate::frames::{self, Frames, ethernet};
use crate::harness::{Case, each};
use crate::mesh::Mesh;
use crate::need::OURS;
use crate::pair::VNI;
use crate::place::{Family, Node, ping, three_nodes};
use crate::stream::Random;
use crate::{tcp, udp, wait};

const BROADCAST: [u8; 6] = [0xff; 6];

/// The EtherType of the frames here: local experimental (IEEE 802).
const ETHERTYPE: u16 = 0x88b5;

/// The broadcast address of the overlay, and any address of a node in it.
const EVERYONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 255));
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Bytes of each datagram of a run, and what comes after the run.
const SEGMENT: usize = 1000;
const FENCE: &[u8] = b"the run is over";

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("broadcast_reaches_each_node_once", |family| {
            broadcast_once(&Mesh::new(family, ""));
        }),
        Case::over_both("unicast_reaches_only_its_owner_once_learned", |family| {
            unicast_owner_only(&Mesh::new(family, ""));
        }),
        Case::over_both("arp_reaches_each_node_once", |family| {
            arp_once(&Mesh::new(family, ""));
        }),
        Case::over_both("run_to_everyone_reaches_each_node_once", |family| {
            run_once(&Mesh::new(family, ""));
        }),
        Case::over_both("tap_spokes_reach_each_other_by_a_relaying_hub", |family| {
            spokes_reach_each_other(hub(family, "tap", true, ""));
        }),
        Case::over_both("tun_spokes_reach_each_other_by_a_relaying_hub", |family| {
            spokes_reach_each_other(hub(family, "tun", true, ""));
        }),
        Case::over_both("spokes_do_not_reach_each_other_by_a_hub_that_does_not_relay", no_relay),
        Case::over_both("quic_floods_reach_each_node_once", |family| {
            FLOODS.iter().for_each(|check| check(&Mesh::over_quic(family)));
        }),
    ];
    each(cases, |case| case.needs(OURS))
}

/// Every flood. A mesh for each: what one has taught the nodes is not to help the next.
const FLOODS: [fn(&Mesh); 4] = [broadcast_once, unicast_owner_only, arp_once, run_once];

/// Checks every flood; `tables` go into the configurations of the daemons.
pub fn floods(family: Family, tables: &str) {
    FLOODS.iter().for_each(|check| check(&Mesh::new(family, tables)));
}

/// Checks relays of both kinds; `tables` go into the configurations of the daemons.
pub fn relays(family: Family, tables: &str) {
    for device in ["tap", "tun"] {
        spokes_reach_each_other(hub(family, device, true, tables));
    }
}

fn config(node: &Node, end: usize, device: &str, keys: &str) -> Config {
    let number = end + 1;
    let keys = format!("addresses = [\"10.9.0.{number}/24\", \"fd00:9::{number}/64\"]\n{keys}");
    Config::new(node).network(device, &format!("{device}0"), VNI, &keys)
}

fn frame(mesh: &Mesh, from: usize, to: [u8; 6], mark: u8) -> Vec<u8> {
    ethernet(to, mesh.mac(from), &[], ETHERTYPE, &[mark; 80])
}

/// Counts the frames with a mark up to the frame with another mark, which all nodes get.
#[track_caller]
fn count(at: &Frames, mark: u8, fence: u8) -> usize {
    let arrived = at.until(|frame| frame.ends_with(&[fence; 80]));
    arrived.iter().filter(|frame| frame.ends_with(&[mark; 80])).count()
}

fn broadcast_once(mesh: &Mesh) {
    let frames = mesh.frames();
    for from in 0..3 {
        frames.iter().for_each(Frames::drain);
        frames[from].send(&frame(mesh, from, BROADCAST, 1));
        frames[from].send(&frame(mesh, from, BROADCAST, 2));
        for to in (0..3).filter(|to| *to != from) {
            assert_eq!(count(&frames[to], 1, 2), 1, "from node {from} to node {to}");
        }
    }
}

fn unicast_owner_only(mesh: &Mesh) {
    let [a, b, c] = mesh.frames();
    // A host behind node b that nobody has heard of: b's own MAC is known by its first packets.
    let behind_b = [2, 0, 0, 0, 0, 0xbb];
    // A fence is another flow: it is sent when what must arrive has arrived.
    let has = |mark: u8| move |frame: &[u8]| frame.ends_with(&[mark; 80]);
    a.send(&frame(mesh, 0, behind_b, 1));
    b.expect("a frame to an unknown owner", has(1));
    c.expect("a frame to an unknown owner", has(1));
    a.send(&frame(mesh, 0, BROADCAST, 2));
    assert_eq!([count(&b, 1, 2), count(&c, 1, 2)], [0, 0], "once");
    b.send(&ethernet(BROADCAST, behind_b, &[], ETHERTYPE, &[3; 80]));
    a.expect("what teaches node a where it is", has(3));
    a.send(&frame(mesh, 0, behind_b, 4));
    b.expect("a frame to a known owner", has(4));
    a.send(&frame(mesh, 0, BROADCAST, 5));
    assert_eq!([count(&b, 4, 5), count(&c, 4, 5)], [0, 0], "to it alone, and once");
}

fn arp_once(mesh: &Mesh) {
    let frames = mesh.frames();
    ping(&mesh.nodes[0].host, [10, 9, 0, 2].into(), "");
    frames[0].send(&frame(mesh, 0, BROADCAST, 2));
    let asks_for_b = |frame: &Vec<u8>| {
        frame.get(12..14) == Some(&[0x08, 0x06])
            && frame.get(20..22) == Some(&[0, 1])
            && frame.get(38..42) == Some(&[10, 9, 0, 2])
    };
    for to in [1, 2] {
        let arrived = frames[to].until(|frame| frame.ends_with(&[2; 80]));
        assert_eq!(arrived.iter().filter(|frame| asks_for_b(frame)).count(), 1, "at node {to}");
    }
}

/// A run of datagrams leaves node a as one GSO packet.
fn run_once(mesh: &Mesh) {
    let [near, far @ ..] = mesh.nodes.each_ref().map(|node| udp::socket(&node.host, ANY));
    let payload = Random::new(12).bytes(20 * SEGMENT);
    near.set_broadcast(true).unwrap();
    for socket in &far {
        let port = socket.local_addr().unwrap().port();
        udp::send_run(&near, (EVERYONE, port).into(), &payload, SEGMENT as u16);
        near.send_to(FENCE, (EVERYONE, port)).unwrap();
        let arrived = udp::receive_until(socket, FENCE);
        assert!(arrived == payload, "{} of {} bytes", arrived.len(), payload.len());
    }
}

/// Starts a hub (node b) and two spokes (a and c) that know only the hub.
fn hub(family: Family, device: &str, relay: bool, tables: &str) -> ([Node; 3], Vec<Daemon>) {
    let nodes = three_nodes(family);
    let allowed = |numbers: &[usize]| match device {
        "tap" => String::new(),
        _ => {
            let prefixes: Vec<_> = numbers
                .iter()
                .flat_map(|n| [format!("\"10.9.0.{n}/32\""), format!("\"fd00:9::{n}/128\"")])
                .collect();
            format!("allowed_ips = [{}]", prefixes.join(", "))
        }
    };
    let spoke = |end: usize, others: &[usize]| {
        config(&nodes[end], end, device, "").peer("hub", nodes[1].address, &allowed(others))
    };
    let relays = format!("relay = {relay}");
    let hub = config(&nodes[1], 1, device, &relays)
        .peer("spoke-a", nodes[0].address, &allowed(&[1]))
        .peer("spoke-c", nodes[2].address, &allowed(&[3]));
    let configs = [spoke(0, &[2, 3]), hub, spoke(2, &[1, 2])];
    let daemons =
        nodes.iter().zip(configs).map(|(node, config)| Daemon::start(node, &config.tables(tables)));
    (nodes.clone(), daemons.collect())
}

fn spokes_reach_each_other((nodes, _daemons): ([Node; 3], Vec<Daemon>)) {
    let [a, _, c] = &nodes;
    for (from, to, number) in [(a, c, 3), (c, a, 1)] {
        for address in [[10, 9, 0, number as u8].into(), [0xfd00, 9, 0, 0, 0, 0, 0, number].into()]
        {
            ping(&from.host, address, "");
            tcp::send(&from.host, &to.host, address, 64 << 20);
        }
    }
}

fn no_relay(family: Family) {
    let (nodes, daemons) = hub(family, "tap", false, "");
    let [a, b, c] = nodes.each_ref().map(|node| Frames::open(&node.host, "tap0"));
    let [mac_a, mac_b, mac_c] = nodes.each_ref().map(|node| frames::mac(&node.host, "tap0"));
    a.send(&ethernet(BROADCAST, mac_a, &[], ETHERTYPE, &[1; 80]));
    b.expect("the spoke's broadcast", |frame| frame.ends_with(&[1; 80]));
    b.send(&ethernet(BROADCAST, mac_b, &[], ETHERTYPE, &[2; 80]));
    assert_eq!(count(&c, 1, 2), 0);
    // The hub knows where spoke c is, and says why it does not send there.
    c.send(&ethernet(BROADCAST, mac_c, &[], ETHERTYPE, &[3; 80]));
    b.expect("the other spoke's broadcast", |frame| frame.ends_with(&[3; 80]));
    a.send(&ethernet(mac_c, mac_a, &[], ETHERTYPE, &[4; 80]));
    wait::until_true("the hub counts it", || daemons[1].dropped("split_horizon") > 0);
    b.send(&ethernet(BROADCAST, mac_b, &[], ETHERTYPE, &[5; 80]));
    assert_eq!(count(&c, 4, 5), 0);
}
