use proptest::prelude::*;

use super::*;
use crate::frame::Mac;
use crate::frame::build::Packet;

/// An ARP request as Linux sends it, with the padding that a physical port adds.
const ARP_REQUEST: &[u8] = &[
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0,
    0, 0, 0, 1, 10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 10, 9, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0,
];

/// A TCP SYN as Linux 6.18 sent it, its checksum still partial.
const SYN: &[u8] = &[
    0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x45, 0x00,
    0x00, 0x3c, 0x62, 0x96, 0x40, 0x00, 0x40, 0x06, 0xc4, 0x11, 0x0a, 0x09, 0x00, 0x01, 0x0a, 0x09,
    0x00, 0x02, 0xb8, 0x26, 0x14, 0x51, 0xb8, 0xb9, 0x95, 0x81, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02,
    0xfa, 0xf0, 0x14, 0x43, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x0a, 0xf2,
    0xae, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x0a,
];

fn packets() -> Vec<Packet> {
    let all = [
        Packet::tcp4().payload(100).options(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        Packet::tcp6().payload(100),
        Packet::udp4().payload(64),
        Packet::udp6().payload(1),
        Packet::udp4().ip_options(&[7, 3, 4, 0]),
        Packet::udp6().extensions(0, &[60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]),
        Packet::icmp4(8),
        Packet::icmp6(128),
        Packet::udp4().fragment(0, true).payload(1000),
        Packet::udp4().fragment(1480, false).payload(20),
        Packet::tcp4().protocol(47).payload(30),
    ];
    let frames = all.clone().into_iter().flat_map(|packet| {
        [packet.clone().tagged(&[]), packet.clone().tagged(&[7]), packet.tagged(&[8, 9]).padding(3)]
    });
    all.clone().into_iter().chain(frames).collect()
}

#[test]
fn tcp_syn_fixture() {
    let headers = Headers::parse(SYN, Layer::L2).unwrap();
    let l4 = L4::Tcp { src_port: 0xb826, dst_port: 5201, header_len: 40, flags: 2 };
    assert_eq!(headers.l4, l4);
    let Net::V4(info) = headers.net else { panic!("{headers:?}") };
    assert_eq!((info.hop_limit, info.tos, info.dont_fragment), (64, 0, true));
    assert_eq!((headers.l3_start, headers.l4_start, headers.end), (14, 34, 74));
    assert_eq!(headers.source_ip(), Some("10.9.0.1".parse().unwrap()));
    assert_eq!(headers.payload_start(), 74);
    let check = crate::frame::checksum::verify_transport(SYN, &headers);
    assert_eq!(check, crate::frame::checksum::Check::Partial);
}

#[test]
fn arp_fixture() {
    let headers = Headers::parse(ARP_REQUEST, Layer::L2).unwrap();
    let Net::Arp(arp) = headers.net else { panic!("{headers:?}") };
    assert_eq!(arp.sender, std::net::Ipv4Addr::new(10, 9, 0, 1));
    assert_eq!(arp.target, std::net::Ipv4Addr::new(10, 9, 0, 2));
    assert_eq!((arp.sender_mac, arp.request), (Mac([2, 0, 0, 0, 0, 1]), true));
    assert!(headers.link.unwrap().dst.is_broadcast());
    assert_eq!((headers.end, headers.source_ip()), (60, None));
}

#[test]
fn arp_for_other_families_is_other_and_truncated_arp_an_error() {
    let mut frame = ARP_REQUEST.to_vec();
    frame[18] = 8;
    assert_eq!(Headers::parse(&frame, Layer::L2).unwrap().net, Net::Other);
    for len in 14..42 {
        assert_eq!(Headers::parse(&frame[..len], Layer::L2), Err(ParseError::ArpTruncated));
    }
}

#[test]
fn truncation_at_every_length_is_an_error_or_padding() {
    for packet in packets() {
        let bytes = packet.bytes();
        let whole = Headers::parse(&bytes, packet.layer()).unwrap();
        for len in 0..bytes.len() {
            let cut = Headers::parse(&bytes[..len], packet.layer());
            match cut {
                Ok(headers) => assert!(len >= whole.end_at() && headers == whole, "{packet:?}"),
                Err(_) => assert!(len < whole.end_at(), "{packet:?} at {len}"),
            }
            let _ = Headers::parse_super(&bytes[..len], packet.layer());
        }
    }
}

#[test]
fn offsets_and_padding_of_every_kind() {
    for packet in packets() {
        let bytes = packet.bytes();
        let headers = packet.headers();
        let l3 = match (packet.layer(), headers.link) {
            (Layer::L3, None) => 0,
            (Layer::L2, Some(link)) if link.vlan == 0 => 14,
            (Layer::L2, Some(link)) if link.vlan == 7 => 18,
            (Layer::L2, Some(_)) => 22,
            other => panic!("{other:?}"),
        };
        assert_eq!(headers.l3_at(), l3);
        let padding = if l3 == 22 { 3 } else { 0 };
        assert_eq!(headers.end_at(), bytes.len() - padding);
        assert!(headers.payload_start() <= headers.end_at());
    }
}

#[test]
fn fragments_have_ports_only_in_the_first() {
    let first = Packet::udp4().payload(64).fragment(0, true).headers();
    let Net::V4(info) = first.net else { panic!("{first:?}") };
    assert!(info.fragment && info.first_fragment && matches!(first.l4, L4::Udp { .. }));
    let later = Packet::udp4().payload(64).fragment(64, true).headers();
    let Net::V4(info) = later.net else { panic!("{later:?}") };
    assert!(info.fragment && !info.first_fragment && later.l4 == L4::None);
    assert_eq!(first.flow_hash(), later.flow_hash());

    let six = |offset: u16| {
        Packet::udp6().extensions(44, &[17, 0, (offset >> 8) as u8, offset as u8, 0, 0, 0, 1])
    };
    let first = six(1).headers();
    let Net::V6(info) = first.net else { panic!("{first:?}") };
    assert!(info.fragment && info.first_fragment && matches!(first.l4, L4::Udp { .. }));
    let later = six(0x10).headers();
    let Net::V6(info) = later.net else { panic!("{later:?}") };
    assert!(info.fragment && !info.first_fragment && later.l4 == L4::None);
    assert_eq!((later.l4_start, first.flow_hash()), (48, later.flow_hash()));
    let atomic = six(0).headers();
    assert!(!atomic.is_fragment() && matches!(atomic.l4, L4::Udp { .. }));
}

#[test]
fn ip_that_contradicts_itself_is_refused() {
    let check = |at: usize, value: u8, expected: ParseError| {
        let mut bytes = Packet::tcp4().payload(10).bytes();
        bytes[at] = value;
        assert_eq!(Headers::parse(&bytes, Layer::L3), Err(expected));
    };
    check(0, 0x55, ParseError::IpVersion);
    check(0, 0x44, ParseError::IpHeaderLength);
    check(3, 51, ParseError::IpLength { len: 51, have: 50 });
    check(3, 19, ParseError::IpLength { len: 19, have: 50 });
    check(3, 39, ParseError::Transport);
    check(32, 0x40, ParseError::Transport);
    check(32, 0xf0, ParseError::Transport);
    let mut frame = Packet::tcp4().tagged(&[]).bytes();
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    assert!(Headers::parse(&frame, Layer::L2).is_err());
}

#[test]
fn extension_headers_have_a_limit() {
    let chain = |count: usize| {
        let mut bytes = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        let last = bytes.len() - 8;
        bytes[last] = 17;
        let packet = Packet::udp6().extensions(60, &bytes);
        Headers::parse(&packet.bytes(), Layer::L3).map(|headers| headers.l4)
    };
    assert_eq!(chain(11), Ok(L4::Udp { src_port: 40_000, dst_port: 5201 }));
    assert_eq!(chain(12), Err(ParseError::Extension));
}

#[test]
fn super_packet_may_have_no_length() {
    for packet in [Packet::tcp4().payload(5000), Packet::tcp6().payload(5000)] {
        let mut bytes = packet.bytes();
        let with_length = Headers::parse_super(&bytes, Layer::L3).unwrap();
        let at = if matches!(with_length.net, Net::V4(_)) { 2 } else { 4 };
        bytes[at..at + 2].fill(0);
        assert!(Headers::parse(&bytes, Layer::L3).is_err());
        assert_eq!(Headers::parse_super(&bytes, Layer::L3), Ok(with_length));
    }
}

#[test]
fn unknown_ethertypes_are_carried() {
    let mut frame = vec![0; 64];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    let headers = Headers::parse(&frame, Layer::L2).unwrap();
    assert_eq!((headers.net, headers.l4, headers.end), (Net::Other, L4::None, 64));
    assert_eq!((headers.l3_start, headers.l4_start), (14, 14));
}

#[test]
fn flow_hash_tells_flows_apart_and_segments_not() {
    let base = Packet::tcp4();
    let same = base.clone().seq(99).payload(1000).flags(0x18).tos(3).id(9);
    assert_eq!(base.headers().flow_hash(), same.headers().flow_hash());
    let others = [
        base.clone().ports(1, 5201),
        base.clone().ports(5201, 40_000),
        base.clone().src4([10, 9, 0, 3]),
        base.clone().dst4([10, 9, 0, 3]),
        base.clone().src4([10, 9, 0, 2]).dst4([10, 9, 0, 1]),
        Packet::udp4(),
        Packet::tcp6(),
    ];
    for other in others {
        assert_ne!(base.headers().flow_hash(), other.headers().flow_hash(), "{other:?}");
    }
}

#[test]
fn flow_hash_spreads_ports_over_the_low_bits() {
    for packet in [Packet::udp4(), Packet::udp6()] {
        let mut seen = [0_u32; 16];
        for port in 1000..2600 {
            let hash = packet.clone().ports(port, 53).headers().flow_hash();
            seen[(hash % 16) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (60..=140).contains(count)), "{seen:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic_and_offsets_stay_inside(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120), version: u8, is_l2: bool,
    ) {
        // Half of the time something that begins like IP.
        let at = if is_l2 { 14 } else { 0 };
        if version & 1 == 0 && bytes.len() > at {
            bytes[at] = if version & 2 == 0 { 0x45 } else { 0x60 };
            if is_l2 {
                bytes[12..14].copy_from_slice(if version & 2 == 0 { &[8, 0] } else { &[0x86, 0xdd] });
            }
        }
        let layer = if is_l2 { Layer::L2 } else { Layer::L3 };
        for headers in [Headers::parse(&bytes, layer), Headers::parse_super(&bytes, layer)].into_iter().flatten() {
            prop_assert!(headers.l3_at() <= headers.l4_at());
            prop_assert!(headers.payload_start() <= headers.end_at());
            prop_assert!(headers.end_at() <= bytes.len());
            let _ = (headers.flow_hash(), crate::frame::checksum::verify_transport(&bytes, &headers));
        }
    }

    #[test]
    fn corrupted_packets_never_panic(
        which: prop::sample::Index, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let all = packets();
        let packet = which.get(&all);
        let mut bytes = packet.bytes();
        for (at, value) in flips {
            let at = at.index(bytes.len().min(80));
            bytes[at] = value;
        }
        if let Ok(headers) = Headers::parse(&bytes, packet.layer()) {
            let mut out = [0; crate::frame::icmp::LEN_MAX];
            let _ = crate::frame::icmp::too_big(&bytes, &headers, 1300, &mut out);
            let _ = crate::frame::tcp::clamp_mss(&mut bytes.clone(), &headers, 1000, false);
            crate::frame::ecn::set_tos(&mut bytes.clone(), &headers, 3);
            let _ = crate::frame::hop_limit::decrement(&mut bytes.clone(), &headers);
            if let Some(plan) = ipv4::Fragments::plan(&bytes, &headers, 600) {
                for index in 0..plan.count() {
                    let range = plan.fragment(index, &bytes, &mut vec![0; plan.header_len()]);
                    prop_assert!(range.end <= bytes.len());
                }
            }
        }
    }
}
