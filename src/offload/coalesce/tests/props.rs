use proptest::prelude::*;

use super::*;
use crate::frame::checksum::looks_partial;
use crate::offload::Cut;

/// Cuts a GSO packet and pushes every segment.
fn push_segments(bench: &mut Bench, bytes: &[u8], layer: Layer, gso: Gso) -> usize {
    let headers = Headers::parse(bytes, layer).unwrap();
    let cut = Cut::plan(bytes, &headers, VnetHeader::of(&headers, gso), 4000).unwrap();
    assert!(cut.count() > 1);
    let mut header = vec![0; cut.header_len()];
    for index in 0..cut.count() {
        let payload = cut.segment(index, bytes, &mut header);
        let segment = [&header, &bytes[payload]].concat();
        assert_eq!(bench.push_bytes(&segment, layer), Check::Valid);
    }
    cut.count()
}

proptest! {
    #[test]
    fn segments_of_a_gso_packet_merge_into_the_same_packet(
        kind in 0_usize..4,
        link in prop::option::of(prop::collection::vec(0_u16..4096, 0..3)),
        options in prop::collection::vec(any::<[u8; 4]>(), 0..10),
        size in 100_u16..3000,
        len in 1_usize..60_000,
        tos: u8, id: u16, dont_fragment: bool, pushed: bool, seq: u32,
    ) {
        let mut packet = [Packet::tcp4(), Packet::tcp6(), Packet::udp4(), Packet::udp6()][kind].clone();
        if kind < 2 {
            let psh = if pushed { flag::PSH } else { 0 };
            packet = packet.options(options.as_flattened()).seq(seq).flags(flag::ACK | psh);
        }
        if let Some(tags) = &link {
            packet = packet.tagged(tags);
        }
        if dont_fragment {
            packet = packet.dont_fragment();
        }
        // Between two segments and what one write takes.
        let most = if kind < 2 { 500 } else { 64 };
        let len = len.max(usize::from(size) + 1).min(usize::from(size) * most);
        let packet = packet.tos(tos).id(id).payload(len).partial();
        let original = packet.bytes();
        let headers = packet.headers();
        let gso = if kind < 2 { Gso::Tcp { size } } else { Gso::Udp { size } };
        let mut bench = Bench::new(BOTH);
        let count = push_segments(&mut bench, &original, packet.layer(), gso);
        let writes = bench.finish();
        prop_assert_eq!(counts(&writes), [count as u32]);
        prop_assert_eq!(&writes[0].bytes, &original);
        prop_assert_eq!(writes[0].vnet, VnetHeader::of(&headers, gso));
    }

    /// Any mixture: every packet is in exactly one write, each flow's bytes come out in the order
    /// in which they came, and what was merged has the partial checksum that its header promises.
    #[test]
    fn mixtures_keep_every_flow_in_order_and_lose_nothing(
        steps in prop::collection::vec((0_usize..6, 1_usize..200, 0_u8..12), 1..120),
    ) {
        let mut bench = Bench::new(BOTH);
        let mut sent = vec![Vec::new(); 6];
        let mut sequences = [0_u32; 6];
        for (flow, len, what) in &steps {
            let kind = [Packet::tcp4(), Packet::udp4(), Packet::tcp6(), Packet::udp6().tagged(&[2])];
            let fill: Vec<u8> = (0..*len).map(|i| (i + sent[*flow].len()) as u8).collect();
            let mut packet = kind[flow % 4].clone().ports(1000 + *flow as u16, 9).dont_fragment();
            packet = packet.seq(sequences[*flow]).payload_bytes(fill.clone());
            packet = match what {
                0 => packet.flags(flag::ACK | flag::PSH),
                1 => packet.tos(1),
                2 => packet.flags(flag::ACK | flag::CWR),
                3 => packet.hop_limit(3),
                4 => packet.window(9),
                _ => packet,
            };
            sequences[*flow] = sequences[*flow].wrapping_add(*len as u32);
            sent[*flow].extend(fill);
            bench.push(&packet);
        }
        let writes = bench.finish();
        prop_assert_eq!(counts(&writes).iter().sum::<u32>() as usize, steps.len());
        let mut received = vec![Vec::new(); 6];
        for Written { vnet, bytes, .. } in writes {
            let is_l2 = bytes[0] == 2;
            let layer = if is_l2 { Layer::L2 } else { Layer::L3 };
            let headers = Headers::parse(&bytes, layer).unwrap();
            if vnet.needs_checksum() {
                // The sum of the pseudo-header may by chance be the right checksum as well.
                prop_assert!(looks_partial(&bytes, &headers));
            } else {
                prop_assert_eq!(verify_transport(&bytes, &headers), Check::Valid);
            }
            let at = headers.l4_at();
            let flow = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]])) - 1000;
            received[flow].extend_from_slice(&bytes[headers.payload_start()..]);
        }
        prop_assert_eq!(received, sent);
    }
}
