//! No inner payload, whatever it contains, is read as a VXLAN header.

use std::net::{IpAddr, Ipv6Addr};

use crate::daemon::{Config, Daemon};
use crate::frames::{self, Frames, ethernet};
use crate::harness::{Case, each};
use crate::kernel::KernelVxlan;
use crate::need::{KERNEL_VXLAN, OURS};
use crate::place::{Family, Node, run, two_nodes};
use crate::udp;

/// The network that the attacker is in, and the one that it is not to reach.
const OWN: u32 = 42;
const OTHER: u32 = 43;

const BROADCAST: [u8; 6] = [0xff; 6];
const ETHERTYPE: u16 = 0x88b5;

/// Ends every forged frame.
const FORGED: [u8; 16] = *b"forged forged!!!";

/// Segment sizes of the attack: multiples of a forged datagram and others.
const SEGMENTS: &[u16] = &[64, 128, 256, 576, 1024, 1200];

pub fn cases() -> Vec<Case> {
    let from_kernel = [
        Case::over_both("payload_is_never_read_as_a_header_from_kernel", |family| {
            from_kernel(family, "");
        }),
        Case::over_both("payload_is_never_read_as_a_header_from_kernel_without_gso", |family| {
            from_kernel(family, "tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off");
        }),
    ];
    let ours = [Case::over_both("payload_is_never_read_as_a_header_from_tap", from_tap)];
    let from_kernel = each(from_kernel, |case| case.needs(OURS).needs(KERNEL_VXLAN));
    from_kernel.into_iter().chain(each(ours, |case| case.needs(OURS))).collect()
}

/// The victim: a daemon with both networks, its peer in both.
fn victim(node: &Node, attacker: IpAddr) -> Daemon {
    let addresses = "addresses = [\"10.9.0.1/24\", \"fd00:9::1/64\"]";
    let config = Config::new(node)
        .network("tap", "tap0", OWN, addresses)
        .network("tap", "tap1", OTHER, "")
        .peer("attacker", attacker, "");
    Daemon::start(node, &config)
}

fn from_kernel(family: Family, features: &str) {
    let [near, far] = two_nodes(family);
    let daemon = victim(&near, far.address);
    let peers = [near.address];
    let addresses: &[&[&str]] = &[&["10.9.0.2/24", "fd00:9::2/64"], &[]];
    for (device, vni, addresses) in [("vx0", OWN, addresses[0]), ("vx1", OTHER, addresses[1])] {
        KernelVxlan { node: &far, device, peers: &peers, vni, addresses, options: "" }.make();
        if !features.is_empty() {
            run(&far.host, "ethtool", &format!("-K {device} {features}"));
        }
    }
    attack(&near, &far, "vx1");
    drop(daemon);
}

fn from_tap(family: Family) {
    let [near, far] = two_nodes(family);
    let _victim = victim(&near, far.address);
    let addresses = "addresses = [\"10.9.0.2/24\", \"fd00:9::2/64\"]";
    let config = Config::new(&far)
        .network("tap", "tap0", OWN, addresses)
        .network("tap", "tap1", OTHER, "")
        .peer("victim", near.address, "");
    let _attacker = Daemon::start(&far, &config);
    attack(&near, &far, "tap1");
}

/// Sends every forged payload in network 42 and watches network 43.
fn attack(near: &Node, far: &Node, other_device: &str) {
    let watched = Frames::open(&near.host, "tap1");
    let honest = Frames::open(&far.host, other_device);
    let mac = frames::mac(&far.host, other_device);
    for address in [[10, 9, 0, 1].into(), IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1))] {
        let target = udp::socket(&near.host, address);
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = udp::socket(&far.host, any);
        for segment in SEGMENTS {
            for shift in shifts(address) {
                let payload = forged_payload(usize::from(*segment), shift);
                let to = target.local_addr().unwrap();
                udp::send_run(&socket, to, &payload, *segment);
                receive_all(&target, &payload);
            }
        }
    }
    // The last frame is an honest one in network 43: what arrived before it is all there was.
    honest.send(&ethernet(BROADCAST, mac, &[], ETHERTYPE, b"an honest frame of network 43...."));
    let before = watched.until(|frame| frame.ends_with(b"an honest frame of network 43...."));
    let forged = before.iter().filter(|frame| frame.ends_with(&FORGED)).count();
    assert_eq!(forged, 0, "forged frames reached the other network");
}

/// Offsets at which a receiver that cuts by the inner segment size would look for a header: the
/// segment's start, and that less the inner headers, with and without the Ethernet and VXLAN ones.
fn shifts(address: IpAddr) -> Vec<usize> {
    let headers = if address.is_ipv4() { 28 } else { 48 };
    vec![0, headers, headers + 14, headers + 14 + 8]
}

/// Datagrams for network 43, one at each place `k * segment - shift`, eight segments long.
fn forged_payload(segment: usize, shift: usize) -> Vec<u8> {
    let mut payload = vec![0x20; 8 * segment];
    let forged = forged_datagram();
    for start in (0..=8).map(|k| (k * segment).wrapping_sub(shift)) {
        if let Some(room) = payload.get_mut(start..start.saturating_add(forged.len())) {
            room.copy_from_slice(&forged);
        }
    }
    payload
}

/// A VXLAN header for network 43 and a broadcast frame.
fn forged_datagram() -> Vec<u8> {
    let mut datagram = vec![0x08, 0, 0, 0, 0, 0, OTHER as u8, 0];
    let payload = [&[0x20; 4][..], &FORGED].concat();
    datagram.extend(ethernet(BROADCAST, [2, 0, 0, 0, 0, 66], &[], ETHERTYPE, &payload));
    assert!(datagram.len() <= usize::from(SEGMENTS[0]));
    datagram
}

/// The attack itself arrives in its own network, whole.
#[track_caller]
fn receive_all(socket: &std::net::UdpSocket, payload: &[u8]) {
    let mut buffer = vec![0; 65_536];
    let mut arrived = vec![];
    while arrived.len() < payload.len() {
        let len = socket.recv(&mut buffer).expect("the datagrams arrive in their own network");
        arrived.extend_from_slice(&buffer[..len]);
    }
    assert!(arrived == payload, "the payload changed on its way");
}
