use proptest::prelude::*;

use super::*;
use crate::frame::build::{Packet, naive_sum};
use crate::frame::checksum::{Check, verify_transport};
use crate::frame::{Layer, tcp::flag};
use crate::offload::captures::{self, Capture};

/// Cuts, and gives the wire packets: the same where they are cut as where they are laid out.
fn cut(bytes: &[u8], layer: Layer, gso: Gso, max_packet: usize) -> Result<Vec<Vec<u8>>, CutError> {
    let headers = Headers::parse_super(bytes, layer).unwrap();
    let vnet = VnetHeader::of(&headers, gso);
    let cut = Cut::plan(bytes, &headers, vnet, max_packet)?;
    if cut.header_len() == 0 {
        assert_eq!(cut.count(), 1);
        let mut bytes = bytes.to_vec();
        cut.finish_in_place(&mut bytes);
        return Ok(vec![bytes]);
    }
    Ok(segments_of(&cut, bytes))
}

fn segments_of(cut: &Cut, bytes: &[u8]) -> Vec<Vec<u8>> {
    let segments = (0..cut.count()).map(|index| {
        let mut segment = vec![0; cut.header_len()];
        let payload = cut.segment(index, bytes, &mut segment);
        segment.extend_from_slice(&bytes[payload]);
        assert_eq!(segment.len(), cut.segment_len(index));
        segment
    });
    let segments: Vec<_> = segments.collect();
    assert_eq!(lay_out(cut, bytes), segments);
    segments
}

/// Lays the wire packets out one behind the other, with room for 8 bytes in front of each.
fn lay_out(cut: &Cut, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut room = [vec![0xee; cut.front(8)], bytes.to_vec()].concat();
    let mut end = 0;
    let segments = (0..cut.count()).map(|index| {
        let segment = cut.segment_in_place(index, &bytes[..cut.header_len()], &mut room, 8);
        assert_eq!(segment.start, end);
        end = segment.end;
        segment
    });
    let segments: Vec<_> = segments.collect();
    segments.into_iter().map(|segment| room[segment][8..].to_vec()).collect()
}

fn cut_packet(packet: &Packet, gso: Gso, max: usize) -> Result<Vec<Vec<u8>>, CutError> {
    cut(&packet.bytes(), packet.layer(), gso, max)
}

/// A segment's headers, all checksums checked.
fn checked(segment: &[u8], layer: Layer) -> Headers {
    let headers = Headers::parse(segment, layer).unwrap();
    assert_eq!(verify_transport(segment, &headers), Check::Valid);
    assert_eq!(headers.end_at(), segment.len());
    if let Net::V4(_) = headers.net {
        assert_eq!(naive_sum(&segment[headers.l3_at()..headers.l4_at()]), 0xffff);
    }
    headers
}

fn flags(headers: &Headers) -> u8 {
    match headers.l4 {
        L4::Tcp { flags, .. } => flags,
        _ => 0,
    }
}

#[test]
fn captured_super_packets_are_cut_into_valid_segments() {
    let check = |capture: Capture, gso, count, last| {
        let inner = capture.inner();
        let segments = cut(&inner, capture.layer, gso, 2000).unwrap();
        assert_eq!(segments.len(), count);
        let mut payload = 0;
        for segment in &segments {
            let headers = checked(segment, capture.layer);
            payload = segment.len() - headers.payload_start();
        }
        assert_eq!(payload, last);
    };
    check(captures::TCP4_SUPER, Gso::Tcp { size: 1398 }, 5, 1398);
    check(captures::TCP6_SUPER, Gso::Tcp { size: 1398 }, 5, 1398);
    check(captures::UDP4_SUPER, Gso::Udp { size: 1000 }, 5, 500);
    check(captures::UDP6_SUPER, Gso::Udp { size: 1000 }, 5, 500);
    check(captures::UDP4_SUPER_MAX, Gso::Udp { size: 1422 }, 43, 1422);
    check(captures::UDP4_SUPER_TINY, Gso::Udp { size: 10 }, 5, 5);
    check(captures::GPE_TCP4_SUPER, Gso::Tcp { size: 1398 }, 5, 1398);
}

#[test]
fn captured_partial_checksums_are_finished_in_place() {
    use captures::{GPE_UDP4_PARTIAL, SYN4, UDP4_PARTIAL, UDP6_PARTIAL};
    for capture in [SYN4, UDP4_PARTIAL, UDP6_PARTIAL, GPE_UDP4_PARTIAL] {
        let packets = cut(&capture.inner(), capture.layer, Gso::None, 1500).unwrap();
        assert_eq!(packets.len(), 1);
        checked(&packets[0], capture.layer);
    }
    checked(&captures::TCP6_FULL.inner(), Layer::L2);
}

#[test]
fn flags_of_the_ends_stay_at_the_ends() {
    let all = flag::FIN | flag::PSH | flag::ACK | flag::CWR | flag::ECE;
    let packet = Packet::tcp4().flags(all).payload(3000).partial();
    let segments = cut_packet(&packet, Gso::Tcp { size: 1000 }, 1500).unwrap();
    let flags: Vec<u8> = segments.iter().map(|s| flags(&checked(s, Layer::L3))).collect();
    let middle = flag::ACK | flag::ECE;
    assert_eq!(flags, [middle | flag::CWR, middle, middle | flag::FIN | flag::PSH]);
}

#[test]
fn sequence_and_identification_wrap_around() {
    let packet = Packet::tcp4().seq(u32::MAX - 500).id(u16::MAX).payload(3000).partial();
    let segments = cut_packet(&packet, Gso::Tcp { size: 1000 }, 1500).unwrap();
    let number = |segment: &[u8]| u32::from_be_bytes(segment[24..28].try_into().unwrap());
    assert_eq!(segments.iter().map(|s| number(s)).collect::<Vec<_>>(), [u32::MAX - 500, 499, 1499]);
    let id = |segment: &[u8]| u16::from_be_bytes(segment[4..6].try_into().unwrap());
    assert_eq!(segments.iter().map(|s| id(s)).collect::<Vec<_>>(), [u16::MAX, 0, 1]);
    segments
        .iter()
        .for_each(|segment| assert_eq!(segment.len(), checked(segment, Layer::L3).end_at()));
}

#[test]
fn tcp_is_cut_smaller_for_a_smaller_path_and_udp_is_not() {
    let tcp = Packet::tcp6().tagged(&[3]).payload(5000).partial();
    let segments = cut_packet(&tcp, Gso::Tcp { size: 1400 }, 1000).unwrap();
    assert_eq!(segments.iter().map(Vec::len).max(), Some(1000));
    let udp = Packet::udp6().payload(5000).partial();
    assert_eq!(cut_packet(&udp, Gso::Udp { size: 1400 }, 1000), Err(CutError::TooBig));
    assert_eq!(cut_packet(&tcp, Gso::Tcp { size: 1400 }, 78), Err(CutError::TooBig));
    assert_eq!(cut_packet(&tcp, Gso::None, 1500), Err(CutError::TooBig));
}

#[test]
fn packet_that_fits_goes_as_it_is() {
    for packet in [Packet::tcp4(), Packet::udp6().tagged(&[1])] {
        let packet = packet.payload(1000);
        let bytes = packet.bytes();
        let cut = Cut::plan(&bytes, &packet.headers(), VnetHeader::default(), bytes.len()).unwrap();
        assert_eq!((cut.count(), cut.header_len()), (1, 0));
        let mut same = bytes.clone();
        cut.finish_in_place(&mut same);
        assert_eq!(same, bytes);
    }
}

#[test]
fn gso_packet_of_one_segment_is_finished_in_place() {
    for (packet, gso) in [
        (Packet::tcp4(), Gso::Tcp { size: 1000 }),
        (Packet::udp6(), Gso::Udp { size: 1000 }),
        (Packet::tcp4(), Gso::Tcp { size: 65_535 }),
        (Packet::udp4(), Gso::Udp { size: 65_535 }),
    ] {
        for len in [0, 1, 1000] {
            let packet = packet.clone().payload(len);
            let packets = cut_packet(&packet.clone().partial(), gso, 1500).unwrap();
            assert_eq!(packets, [packet.bytes()]);
        }
    }
}

#[test]
fn padding_is_not_summed() {
    let packet = Packet::udp4().tagged(&[]).payload(3);
    let mut bytes = packet.clone().partial().bytes();
    bytes.extend([0xff; 15]);
    let expected = [packet.bytes(), vec![0xff; 15]].concat();
    assert_eq!(cut(&bytes, Layer::L2, Gso::None, 1500).unwrap(), [expected]);
}

#[test]
fn checksum_of_an_inner_header_is_finished_where_the_kernel_says() {
    // An outer UDP packet whose checksum is right for what the inner one will be.
    let inner = Packet::tcp4().payload(100);
    let outer = Packet::udp4().ports(50_000, 4789);
    let done = outer.clone().payload_bytes(inner.bytes()).bytes();
    let mut open = done.clone();
    open[28 + 36..28 + 38].copy_from_slice(&inner.clone().partial().bytes()[36..38]);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: 28 + 20,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    let headers = Headers::parse(&open, Layer::L3).unwrap();
    Cut::plan(&open, &headers, vnet, 1500).unwrap().finish_in_place(&mut open);
    assert_eq!(open, done);
}

#[test]
fn checksum_outside_the_packet_is_refused() {
    let packet = Packet::udp4().payload(10).partial().tagged(&[]);
    let (bytes, headers) = (packet.bytes(), packet.headers());
    let len = bytes.len() as u16;
    for (csum_start, csum_offset) in [(len, 0), (len - 1, 0), (0, 6), (34, len), (65_535, 65_535)] {
        let flags = VnetHeader::NEEDS_CSUM;
        let vnet = VnetHeader { flags, csum_start, csum_offset, ..VnetHeader::default() };
        let result = Cut::plan(&bytes, &headers, vnet, 1500).map(|_| ());
        assert_eq!(result, Err(CutError::Malformed(DropReason::VnetHeader)));
    }
}

#[test]
fn checksum_inside_the_network_header_is_refused() {
    let packet = Packet::udp6().payload(100).partial();
    let (bytes, headers) = (packet.bytes(), packet.headers());
    for start in 0..headers.l4_start {
        let vnet = VnetHeader { csum_start: start, ..VnetHeader::of(&headers, Gso::None) };
        let result = Cut::plan(&bytes, &headers, vnet, 1500).err();
        assert_eq!(result, Some(CutError::Malformed(DropReason::VnetHeader)), "start {start}");
    }
}

#[test]
fn padding_behind_a_single_segment_does_not_pass_the_limit() {
    let packet = Packet::tcp4().tagged(&[]).payload(100).padding(1500).partial();
    assert_eq!(cut_packet(&packet, Gso::Tcp { size: 1000 }, 1464), Err(CutError::TooBig));
}

#[test]
fn segments_have_a_limit() {
    let packet = Packet::tcp4().payload(60_000).partial();
    assert_eq!(cut_packet(&packet, Gso::Tcp { size: 1 }, 1500), Err(CutError::TooManySegments));
    assert_eq!(cut_packet(&packet, Gso::Tcp { size: 64 }, 1500).unwrap().len(), 938);
}

#[test]
fn udp_sum_of_zero_is_sent_as_ones() {
    // Two bytes of the payload are chosen so that the rest sums to 0xffff.
    let packet = Packet::udp4().payload_bytes(vec![0; 6]).partial();
    let segments = cut_packet(&packet, Gso::Udp { size: 3 }, 1500).unwrap();
    let sum = [segments[0][26], segments[0][27]];
    let packet = Packet::udp4().payload_bytes([&sum[..], &[0; 4]].concat()).partial();
    let segments = cut_packet(&packet, Gso::Udp { size: 3 }, 1500).unwrap();
    assert_eq!(segments[0][26..28], [0xff, 0xff]);
    checked(&segments[0], Layer::L3);
}

#[test]
fn extension_headers_go_into_every_segment() {
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    let packet = Packet::udp6().extensions(0, &options).payload(100).partial();
    let segments = cut_packet(&packet, Gso::Udp { size: 40 }, 1500).unwrap();
    assert_eq!(segments.len(), 3);
    for segment in segments {
        assert_eq!(checked(&segment, Layer::L3).l4_start, 48);
        assert_eq!(segment[40..48], options);
    }
}

proptest! {
    #[test]
    fn segments_put_together_are_the_packet(
        kind in 0_usize..4,
        link in prop::option::of(prop::collection::vec(0_u16..4096, 0..3)),
        options in prop::collection::vec(any::<[u8; 4]>(), 0..10),
        len in 1_usize..20_000,
        size in 40_u16..3000,
        max in 200_usize..3000,
        tos: u8,
    ) {
        let mut packet = [Packet::tcp4(), Packet::tcp6(), Packet::udp4(), Packet::udp6()][kind].clone();
        if kind < 2 {
            packet = packet.options(options.as_flattened());
        }
        if let Some(tags) = &link {
            packet = packet.tagged(tags);
        }
        let packet = packet.tos(tos).payload(len).partial();
        let (original, whole) = (packet.bytes(), packet.headers());
        let gso = if kind < 2 { Gso::Tcp { size } } else { Gso::Udp { size } };
        let room = max - whole.payload_start();
        let result = cut_packet(&packet, gso, max);
        if kind >= 2 && usize::from(size).min(len) > room {
            prop_assert_eq!(result, Err(CutError::TooBig));
            return Ok(());
        }
        let segments = result.unwrap();
        let size = usize::from(size).min(room);
        prop_assert_eq!(segments.len(), len.div_ceil(size));
        let mut payload = Vec::new();
        for segment in &segments {
            let headers = checked(segment, packet.layer());
            prop_assert!(segment.len() <= max);
            prop_assert_eq!(headers.link, whole.link);
            prop_assert_eq!(headers.flow_hash(), whole.flow_hash());
            prop_assert_eq!(headers.tos(), tos);
            payload.extend_from_slice(&segment[headers.payload_start()..]);
        }
        prop_assert_eq!(payload, &original[whole.payload_start()..]);
    }

    #[test]
    fn any_offload_header_never_panics(
        which: prop::sample::Index, raw: [u8; 10], max in 0_usize..70_000, sane_type: u8,
    ) {
        let packets = [
            Packet::tcp4().payload(3000), Packet::udp6().payload(3000).tagged(&[1]),
            Packet::icmp4(8), Packet::udp4().fragment(0, true), Packet::tcp6().tagged(&[]).padding(9),
        ];
        let packet = which.get(&packets);
        let (mut bytes, headers) = (packet.bytes(), packet.headers());
        let mut vnet = VnetHeader::from_bytes(raw);
        vnet.gso_type = if sane_type % 2 == 0 { [0, 1, 4, 5][usize::from(sane_type) / 2 % 4] } else { vnet.gso_type };
        if sane_type > 127 {
            vnet.flags = 1;
            vnet.csum_start = headers.l4_start;
            vnet.csum_offset = headers.l4.checksum_place().map_or(0, |(_, at)| at as u16);
        }
        if let Ok(cut) = Cut::plan(&bytes, &headers, vnet, max) {
            if cut.count() > 1 {
                let segments = segments_of(&cut, &bytes);
                prop_assert!(segments.iter().all(|segment| segment.len() <= max));
            }
            cut.finish_in_place(&mut bytes);
        }
    }
}
