//! Over QUIC, the format on the wire is the documented one: a client that shares no code with ours
//! is a peer.

use std::net::SocketAddr;

use crate::daemon::Daemon;
use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::{Kind, VNI, overlay};
use crate::place::{Family, two_nodes};
use crate::quic_pair::{NAMES, PORT, Plan};
use crate::stranger::{ALPN, Stranger};

/// Type and code of an echo request, and of its answer (RFC 792).
const REQUEST: [u8; 2] = [8, 0];
const ANSWER: [u8; 2] = [0, 0];

/// EtherType of IPv4.
const IPV4: [u8; 2] = [0x08, 0x00];

/// The MAC address of who has none.
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("quic_client_of_another_make_exchanges_packets", packets),
        Case::over_both("quic_client_of_another_make_exchanges_frames", frames),
    ];
    each(cases, |case| case.needs(OURS))
}

/// Makes node 1 with a device, and has a client on node 0 take the place of its peer.
fn scene(family: Family, kind: Kind) -> (Daemon, crate::stranger::Client) {
    let plan = Plan::new(family, kind).dialled_by(0);
    let nodes = two_nodes(family);
    let daemon = Daemon::start(&nodes[1], &plan.config(&nodes[1], 1, nodes[0].address));
    let own = &plan.ends[0].own;
    let stranger = Stranger {
        paper: Some((&own.certificate, &own.key)),
        trusts: &plan.authority.certificate(),
        alpn: ALPN,
    };
    let to = SocketAddr::new(nodes[1].address, PORT);
    let client = stranger.dial(&nodes[0].host, to, NAMES[1]).expect("a connection");
    (daemon, client)
}

/// Flags, VNI, and for packets the next protocol (RFC 7348, draft-ietf-nvo3-vxlan-gpe).
fn header(flags: u8, next_protocol: u8) -> [u8; 8] {
    let [_, a, b, c] = VNI.to_be_bytes();
    [flags, 0, 0, next_protocol, a, b, c, 0]
}

fn packets(family: Family) {
    let (_daemon, client) = scene(family, Kind::Tun);
    client.send(header(0x0c, 1), &echo(REQUEST));
    let (found, packet) =
        client.expect("an echo", |packet| packet.get(20..22) == Some(&ANSWER[..]));
    assert_eq!(found, header(0x0c, 1));
    assert_eq!(packet.len(), echo(REQUEST).len());
    assert_eq!(packet[28..], echo(REQUEST)[28..], "what was sent comes back");
}

fn frames(family: Family) {
    let (_daemon, client) = scene(family, Kind::Tap);
    // Who has it is asked of all first, as anybody on an Ethernet does.
    let [ours, theirs] = [0, 1].map(address);
    let ask = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &OWN_MAC, &ours, &[0; 6], &theirs].concat();
    client.send(header(0x08, 0), &[&[0xff; 6][..], &OWN_MAC, &[0x08, 0x06], &ask].concat());
    let (found, answer) = client.expect("an ARP answer", |frame| {
        frame.get(12..14) == Some(&[0x08, 0x06]) && frame.get(20..22) == Some(&[0, 2])
    });
    assert_eq!(found, header(0x08, 0));
    let mac = &answer[22..28];
    client.send(header(0x08, 0), &[mac, &OWN_MAC, &IPV4, &echo(REQUEST)].concat());
    let (_, frame) = client.expect("an echo", |frame| frame.get(34..36) == Some(&ANSWER[..]));
    assert_eq!(frame[42..], echo(REQUEST)[28..], "what was sent comes back");
}

/// The IPv4 address of an end in the overlay.
fn address(end: usize) -> [u8; 4] {
    match overlay(end)[0] {
        std::net::IpAddr::V4(address) => address.octets(),
        std::net::IpAddr::V6(_) => unreachable!("the first is of IPv4"),
    }
}

/// An echo request from end 0 to end 1.
fn echo(kind: [u8; 2]) -> Vec<u8> {
    let mut message =
        [&kind[..], &[0, 0, 0x12, 0x34, 0, 1], b"abcdefghijklmnopqrstuvwxyz"].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    let len = (20 + message.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 1, 0, 0]);
    packet.extend(address(0));
    packet.extend(address(1));
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(message);
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [a, b] => u32::from(u16::from_be_bytes([a, b])),
        [a] => u32::from(a) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
