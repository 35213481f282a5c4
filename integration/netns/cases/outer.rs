//! What `[underlay]` asks for our own datagrams: their mark, their device, their TTL, their DSCP.

use std::io::ErrorKind;

use crate::frames::Frames;
use crate::harness::{Case, each};
use crate::need::OURS;
use crate::pair::{Kind, Pair, overlay};
use crate::place::{Family, UNDERLAY, ping, try_run, wire};
use crate::{udp, wait};

/// The UDP port of tun networks.
const PORT: u16 = 4790;

const BOUND: &str = "bind_device = \"under0\"";

pub fn cases() -> Vec<Case> {
    let cases = [
        Case::over_both("only_the_fwmark_chosen_leads_datagrams_by_its_route", fwmark),
        Case::over_both("bind_device_sends_by_that_device_whatever_the_routes", bound_out),
        Case::over_both("bind_device_receives_on_that_device_only", bound_in),
        Case::over_both("outer_ttl_is_the_one_chosen", ttl),
        Case::over_both("inner_dscp_is_in_the_outer_header_on_request_only", dscp),
    ];
    each(cases, |case| case.needs(OURS))
}

fn pair(family: Family, keys: &str) -> Pair {
    Pair::with_tables(family, [Kind::Tun, Kind::Tun], &format!("[underlay]\n{keys}"))
}

fn fwmark(family: Family) {
    for (keys, arrives) in [("", false), ("fwmark = 0x34", false), ("fwmark = 0x33", true)] {
        let pair = pair(family, keys);
        lead_into_tunnel(&pair);
        let (near, far) = (&pair.nodes[0], pair.nodes[1].address);
        let version = if far.is_ipv4() { "-4" } else { "-6" };
        near.ip(&format!("route add {far} dev {UNDERLAY} table 51"));
        near.ip(&format!("{version} rule add fwmark 0x33 lookup 51"));
        assert_eq!(is_answered(&pair), arrives, "{keys}");
    }
}

fn bound_out(family: Family) {
    for (keys, arrives) in [("", false), (BOUND, true)] {
        let pair = pair(family, keys);
        lead_into_tunnel(&pair);
        assert_eq!(is_answered(&pair), arrives, "{keys}");
    }
}

/// Leads everything that the near node sends to the far one into the tunnel: its datagrams too.
fn lead_into_tunnel(pair: &Pair) {
    let (near, far) = (&pair.nodes[0], pair.nodes[1].address);
    ping(&near.host, overlay(1)[0], "");
    // What comes from the far node does not come from where the route leads.
    for interface in ["all", UNDERLAY] {
        near.host.set_sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "0").unwrap();
    }
    near.ip(&format!("route add {far} dev {}", Kind::Tun.interface()));
}

fn is_answered(pair: &Pair) -> bool {
    let [to, _] = overlay(1);
    try_run(pair.host(0), "ping", &format!("-n -q -c 1 -W 1 {to}")).status.success()
}

fn bound_in(family: Family) {
    for (keys, arrives) in [("", true), (BOUND, false)] {
        let pair = pair(family, keys);
        let (near, far) = (&pair.nodes[0], &pair.nodes[1]);
        wire(family, 1, (&near.host, "side0", 1), (&far.host, "side0", 2));
        far.ip(&format!("route add {} via {} dev side0", near.address, family.address(1, 1)));
        let socket = udp::socket(&far.host, family.address(1, 2));
        socket.connect((near.address, PORT)).unwrap();
        socket.send(b"by another device").unwrap();
        if arrives {
            wait::until_true("it is received", || pair.daemon(0).dropped("unknown_peer") > 0);
        } else {
            let refusal = socket.recv(&mut [0; 32]).expect_err("nobody is there");
            assert_eq!(refusal.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(pair.daemon(0).dropped("unknown_peer"), 0);
        }
    }
}

fn ttl(family: Family) {
    for (keys, expected) in [("", 64), ("ttl = 1", 1), ("ttl = 255", 255)] {
        let pair = pair(family, keys);
        let wire = Frames::open(pair.host(1), UNDERLAY);
        ping(pair.host(0), overlay(1)[0], "");
        let frame = wire.expect("a datagram", |frame| Datagram::parse(frame).is_some());
        assert_eq!(Datagram::parse(&frame).map(|datagram| datagram.ttl), Some(expected), "{keys}");
    }
}

/// The DSCP of voice (RFC 3246), and ECN-capable transport.
const EF: u8 = 46 << 2;
const ECT: u8 = 2;

fn dscp(family: Family) {
    for (keys, expected) in [("", ECT), ("copy_dscp = true", EF | ECT)] {
        let pair = pair(family, keys);
        let wire = Frames::open(pair.host(1), UNDERLAY);
        for to in overlay(1) {
            wire.drain();
            ping(pair.host(0), to, &format!("-Q {}", EF | ECT));
            let is_marked = |frame: &[u8]| {
                Datagram::parse(frame).is_some_and(|datagram| datagram.inner_tos == EF | ECT)
            };
            let frame = wire.expect("an echo with its DSCP", is_marked);
            let datagram = Datagram::parse(&frame).expect("it was one above");
            assert_eq!(datagram.tos, expected, "{keys}: {to}");
        }
    }
}

/// What is looked at of a VXLAN-GPE datagram.
struct Datagram {
    tos: u8,
    ttl: u8,
    inner_tos: u8,
}

impl Datagram {
    /// Takes a frame of the underlay apart, if it has one.
    fn parse(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let (protocol, ttl, udp) = match ip.first()? >> 4 {
            4 => (ip.get(9)?, *ip.get(8)?, ip.get(20..)?),
            6 => (ip.get(6)?, *ip.get(7)?, ip.get(40..)?),
            _ => return None,
        };
        let is_ours = *protocol == 17 && udp.get(2..4)? == PORT.to_be_bytes();
        is_ours.then_some(Self { tos: tos(ip)?, ttl, inner_tos: tos(udp.get(16..)?)? })
    }
}

/// Gives the TOS of an IPv4 header, the traffic class of an IPv6 one.
fn tos(ip: &[u8]) -> Option<u8> {
    let start = u16::from_be_bytes(*ip.first_chunk()?);
    Some(if start >> 12 == 4 { start as u8 } else { (start >> 4) as u8 })
}
