use proptest::prelude::*;

use super::*;
use crate::frame::build::Packet;
use crate::frame::{ecn, protocol};
use crate::offload::captures::{self, Capture};

const HEADER: [u8; 8] = [8, 0, 0, 0, 0, 0, 42, 0];

fn of_capture(capture: &Capture) -> Buffer {
    classify(&capture.bytes(), capture.stride, capture.layer, 1450)
}

fn datagram(packet: &Packet) -> Vec<u8> {
    [&HEADER[..], &packet.bytes()].concat()
}

fn run(packets: &[Packet]) -> Vec<u8> {
    packets.iter().flat_map(datagram).collect()
}

fn datagrams(stride: usize) -> Buffer {
    Buffer::Datagrams { stride }
}

fn udp_super(size: u16) -> Buffer {
    Buffer::Super { gso: Gso::Udp { size } }
}

fn tcp_super(size: u16) -> Buffer {
    Buffer::Super { gso: Gso::Tcp { size } }
}

#[test]
fn inner_udp_gso_from_a_kernel_vxlan_device_is_one_super_packet() {
    assert_eq!(of_capture(&captures::UDP4_SUPER), udp_super(1000));
    assert_eq!(of_capture(&captures::UDP4_SUPER_MAX), udp_super(1422));
    assert_eq!(of_capture(&captures::UDP6_SUPER), udp_super(1000));
    assert_eq!(of_capture(&captures::GPE_UDP4_SUPER), udp_super(1000));
    assert_eq!(of_capture(&captures::UDP4_SUPER_TINY), udp_super(10));
}

#[test]
fn inner_tcp_gso_from_a_kernel_vxlan_device_is_one_super_packet() {
    assert_eq!(of_capture(&captures::TCP4_SUPER), tcp_super(1450 - 20 - 32));
    assert_eq!(of_capture(&captures::TCP6_SUPER), tcp_super(1450 - 40 - 32));
    assert_eq!(of_capture(&captures::GPE_TCP4_SUPER), tcp_super(1450 - 20 - 32));
}

#[test]
fn other_captures_are_one_datagram() {
    use captures::{FRAGMENT_FIRST, FRAGMENT_LATER, PING4, SYN4, UDP4_PARTIAL, UDP6_PARTIAL};
    for capture in [FRAGMENT_FIRST, FRAGMENT_LATER, PING4, SYN4, UDP4_PARTIAL, UDP6_PARTIAL] {
        assert_eq!(of_capture(&capture), datagrams(capture.bytes().len()));
    }
    let full = &captures::TCP6_FULL;
    assert_eq!(classify(&full.bytes(), None, full.layer, 1500), datagrams(1492));
}

#[test]
fn run_of_whole_frames_is_cut_by_its_stride() {
    for layer in [Packet::udp4(), Packet::udp4().tagged(&[]), Packet::tcp6().tagged(&[7])] {
        let packets = vec![layer.clone().payload(1000); 5];
        let buffer = run(&packets);
        let stride = buffer.len() / 5;
        let tail = [buffer.clone(), datagram(&layer.clone().payload(10))].concat();
        for buffer in [buffer, tail] {
            let result = classify(&buffer, Some(stride as u16), layer.layer(), 1450);
            assert_eq!(result, datagrams(stride));
        }
    }
}

#[test]
fn run_of_padded_short_frames_is_cut_by_its_stride() {
    let packet = Packet::udp4().tagged(&[]).payload(1).padding(17);
    let buffer = run(&[packet.clone(), packet]);
    assert_eq!(classify(&buffer, Some(68), Layer::L2, 1450), datagrams(68));
}

#[test]
fn run_of_frames_that_are_not_ip_is_cut_by_its_stride() {
    let mut frame = vec![0x08; 60];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    let buffer = [&HEADER[..], &frame].concat().repeat(4);
    assert_eq!(classify(&buffer, Some(68), Layer::L2, 1450), datagrams(68));
}

#[test]
fn run_of_fragments_is_cut_by_its_stride() {
    let packet = Packet::udp4().fragment(1480, true).payload(1400);
    let buffer = run(&vec![packet; 3]);
    assert_eq!(classify(&buffer, Some(1428), Layer::L3, 1450), datagrams(1428));
}

#[test]
fn stride_of_the_whole_buffer_or_zero_means_nothing() {
    let buffer = datagram(&Packet::udp4().payload(100));
    for stride in [0, buffer.len() as u16, u16::MAX] {
        assert_eq!(classify(&buffer, Some(stride), Layer::L3, 1450), datagrams(buffer.len()));
    }
}

#[test]
fn large_packet_with_a_finished_checksum_is_never_a_super_packet() {
    for packet in [Packet::tcp4(), Packet::udp4(), Packet::tcp6(), Packet::udp6()] {
        let buffer = datagram(&packet.payload(5000));
        assert_eq!(classify(&buffer, None, Layer::L3, 1450), datagrams(buffer.len()));
        // In a run it is a first frame that lies about its length: the others are not lost.
        assert_eq!(classify(&buffer, Some(1000), Layer::L3, 1450), datagrams(1000));
    }
}

#[test]
fn super_packet_that_contradicts_itself_is_not_cut() {
    // The inner length ends neither in the first slice nor at the buffer's end.
    let packet = Packet::udp4().payload(5000).partial();
    let longer = [datagram(&packet), vec![0; 300]].concat();
    assert_eq!(classify(&longer, Some(1000), Layer::L3, 1450), Buffer::Unclear);
    assert_eq!(classify(&longer, None, Layer::L3, 1450), datagrams(longer.len()));
}

#[test]
fn buffers_of_every_length_give_a_stride_that_can_be_used() {
    for capture in captures::ALL {
        let bytes = capture.bytes();
        for len in 0..bytes.len().min(200) {
            for stride in [None, Some(0), Some(1), Some(7), Some(8), Some(60), Some(u16::MAX)] {
                for layer in [Layer::L2, Layer::L3] {
                    if let Buffer::Datagrams { stride } =
                        classify(&bytes[..len], stride, layer, 1450)
                    {
                        assert!(stride > 0 && bytes[..len].chunks(stride).len() <= len.max(1));
                    }
                }
            }
        }
    }
}

#[test]
fn network_smaller_than_the_headers_is_no_reason_to_panic() {
    let capture = &captures::TCP4_SUPER;
    for mtu in 0..60 {
        let result = classify(&capture.bytes(), None, capture.layer, mtu);
        let expected = if mtu <= 52 { datagrams(7064) } else { tcp_super(mtu - 52) };
        assert_eq!(result, expected);
    }
}

proptest! {
    /// Whatever an application behind a kernel peer sends with UDP_SEGMENT, and be it VXLAN headers
    /// of other networks where slices would begin: none of it is ever taken for a header.
    #[test]
    fn payload_of_inner_udp_gso_is_never_read_as_a_vxlan_header(
        size in 1_u16..2000,
        count in 2_usize..40,
        tail in 1_usize..2000,
        is_v4: bool,
        link in prop::option::of(prop::collection::vec(0_u16..4096, 0..3)),
        ecn_bits in 0_u8..4,
        noise in prop::collection::vec(any::<u8>(), 64),
    ) {
        let len = usize::from(size) * (count - 1) + tail.min(usize::from(size));
        prop_assume!(len < 60_000);
        let mut packet = if is_v4 { Packet::udp4() } else { Packet::udp6() };
        if let Some(tags) = &link {
            packet = packet.tagged(tags);
        }
        // Headers of another network and a well-formed frame behind them, over and over: some
        // alignment meets every slice.
        let bait = [&[8, 0, 0, 0, 0, 0, 99, 0][..], &packet.clone().payload(20).bytes(), &noise].concat();
        let payload: Vec<u8> = bait.iter().copied().cycle().take(len).collect();
        let at = usize::from(size).saturating_sub(packet.headers().payload_start() + 8);
        let mut payload = payload;
        for slice in payload[at.min(len)..].chunks_mut(usize::from(size)) {
            let bait = &bait[..bait.len().min(slice.len())];
            slice[..bait.len()].copy_from_slice(bait);
        }
        let packet = packet.payload_bytes(payload).partial();
        let mut buffer = datagram(&packet);
        let headers = packet.headers();
        ecn::set_tos(&mut buffer[8..], &headers, ecn_bits);
        prop_assert_eq!(
            classify(&buffer, Some(size), packet.layer(), 1450),
            udp_super(size)
        );
    }

    #[test]
    fn any_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), stride: Option<u16>, mtu: u16, is_l2: bool,
    ) {
        let layer = if is_l2 { Layer::L2 } else { Layer::L3 };
        if let Buffer::Datagrams { stride } = classify(&bytes, stride, layer, mtu) {
            prop_assert!(stride > 0);
        }
    }

    #[test]
    fn corrupted_captures_never_panic(
        which: prop::sample::Index, flips in prop::collection::vec((0_usize..90, any::<u8>()), 1..4),
    ) {
        let capture = which.get(captures::ALL);
        let mut bytes = capture.bytes();
        for (at, value) in flips {
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
        }
        let _ = classify(&bytes, capture.stride, capture.layer, 1450);
    }
}

#[test]
fn udp_of_more_segments_than_a_gso_packet_has_is_unclear() {
    let buffer = datagram(&Packet::udp4().payload(12_800).partial());
    assert_eq!(classify(&buffer, Some(100), Layer::L3, 1450), udp_super(100));
    assert_eq!(classify(&buffer, Some(99), Layer::L3, 1450), Buffer::Unclear);
}

#[test]
fn udp_gso_whose_checksum_is_over_a_later_destination_is_never_cut_by_its_stride() {
    let routed = [17, 2, 4, 1, 0, 0, 0, 0, 0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let source_route = [131, 7, 4, 10, 9, 0, 9, 0];
    let packets =
        [Packet::udp6().extensions(43, &routed), Packet::udp4().ip_options(&source_route)];
    for packet in packets {
        let buffer = datagram(&packet.payload(5000).wrong_checksum());
        assert_eq!(classify(&buffer, Some(1000), Layer::L3, 1450), Buffer::Unclear);
    }
}

#[test]
fn icmp_and_others_are_never_super_packets() {
    let packet = Packet::udp4().protocol(protocol::ICMP4).payload(5000);
    let buffer = datagram(&packet);
    assert_eq!(classify(&buffer, None, Layer::L3, 1450), datagrams(buffer.len()));
    assert_eq!(classify(&buffer, Some(1000), Layer::L3, 1450), datagrams(1000));
}
