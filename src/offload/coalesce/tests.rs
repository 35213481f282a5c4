use proptest::prelude::*;

use super::*;
use crate::buffer::SLOT_SIZE;
use crate::frame::build::Packet;
use crate::frame::tcp::flag;
use crate::offload::{Cut, captures};

const BOTH: Coalesce = Coalesce { tcp: true, udp: true, big_tcp: BigTcp::Never };
const NETWORK: NetworkId = NetworkId(3);

/// A coalescer with memory, as a worker has them.
struct Bench {
    memory: Memory,
    coalescer: Coalescer,
    slot: usize,
    used: usize,
}

/// A write with its bytes gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    vnet: VnetHeader,
    bytes: Vec<u8>,
    packets: u32,
}

impl Bench {
    fn new(enabled: Coalesce) -> Self {
        let coalescer = Coalescer::new(enabled, NETWORK);
        Self { memory: Memory::new(64), coalescer, slot: 0, used: 0 }
    }

    /// Puts bytes behind the last ones, eight bytes between, as in a receive buffer.
    fn store(&mut self, bytes: &[u8]) -> Piece {
        if self.used + 8 + bytes.len() > SLOT_SIZE {
            self.slot += 1;
            self.used = 0;
        }
        let piece = self.memory.slot(self.slot).part(self.used + 8, bytes.len());
        self.memory.bytes_mut(piece).copy_from_slice(bytes);
        self.used += 8 + bytes.len();
        piece
    }

    fn push_bytes(&mut self, bytes: &[u8], layer: Layer) -> Check {
        let piece = self.store(bytes);
        let headers = Headers::parse(bytes, layer).unwrap();
        self.coalescer.push(&mut self.memory, piece, &headers, layer)
    }

    fn extend(&mut self, bytes: &[u8]) -> bool {
        let piece = self.store(bytes);
        self.coalescer.extend(&self.memory, piece)
    }

    fn push(&mut self, packet: &Packet) -> Check {
        self.push_bytes(&packet.bytes(), packet.layer())
    }

    fn finish(&mut self) -> Vec<Written> {
        let (mut writes, mut pieces) = (vec![], vec![]);
        self.coalescer.finish(&mut self.memory, &mut writes, &mut pieces);
        (self.slot, self.used) = (0, 0);
        let gather = |write: DeviceWrite| {
            assert_eq!(write.network, NETWORK);
            let pieces = &pieces[write.pieces.start as usize..write.pieces.end as usize];
            assert!(!pieces.is_empty() && pieces.len() < 1000);
            let bytes: Vec<u8> =
                pieces.iter().flat_map(|piece| self.memory.bytes(*piece)).copied().collect();
            assert_eq!(bytes.len(), write.len as usize);
            Written { vnet: write.vnet, bytes, packets: write.packets }
        };
        writes.into_iter().map(gather).collect()
    }
}

fn coalesce(packets: &[Packet]) -> Vec<Written> {
    let mut bench = Bench::new(BOTH);
    packets.iter().for_each(|packet| {
        bench.push(packet);
    });
    bench.finish()
}

fn as_it_came(packet: &Packet) -> Written {
    Written { vnet: VnetHeader::default(), bytes: packet.bytes(), packets: 1 }
}

/// `count` segments of `size` bytes, in order.
fn stream(packet: &Packet, count: usize, size: usize) -> Vec<Packet> {
    (0..count)
        .map(|i| {
            let seq = 0x1000_0000 + (i * size) as u32;
            packet.clone().seq(seq).id(i as u16).payload(size)
        })
        .collect()
}

fn counts(writes: &[Written]) -> Vec<u32> {
    writes.iter().map(|write| write.packets).collect()
}

/// The two packets stay apart, each as it came.
fn assert_apart(first: Packet, second: Packet) {
    assert_eq!(
        coalesce(&[first.clone(), second.clone()]),
        [as_it_came(&first), as_it_came(&second)]
    );
}

fn kinds() -> Vec<Packet> {
    let bare = [Packet::tcp4(), Packet::tcp6(), Packet::udp4(), Packet::udp6()];
    bare.into_iter()
        .flat_map(|packet| [packet.clone(), packet.clone().tagged(&[]), packet.tagged(&[7])])
        .collect()
}

#[test]
fn segments_of_a_flow_become_one_gso_packet() {
    for kind in kinds() {
        let writes = coalesce(&stream(&kind, 5, 1000));
        assert_eq!(counts(&writes), [5], "{kind:?}");
        let Written { vnet, bytes, .. } = &writes[0];
        let headers = Headers::parse(bytes, kind.layer()).unwrap();
        assert_eq!(verify_transport(bytes, &headers), Check::Partial);
        let gso = match headers.l4 {
            L4::Tcp { .. } => Gso::Tcp { size: 1000 },
            _ => Gso::Udp { size: 1000 },
        };
        assert_eq!(vnet.gso_of(&headers), Ok(gso));
        assert_eq!(*vnet, VnetHeader::of(&headers, gso));
        assert_eq!(bytes.len(), headers.payload_start() + 5000);
    }
}

#[test]
fn packet_that_continues_the_last_extends_its_chain_unparsed() {
    for kind in kinds() {
        let packets = stream(&kind, 5, 1000);
        let mut bench = Bench::new(BOTH);
        bench.push(&packets[0]);
        for packet in &packets[1..] {
            assert!(bench.extend(&packet.bytes()), "{kind:?}");
        }
        assert_eq!(bench.finish(), coalesce(&packets));
        assert!(!bench.extend(&packets[1].bytes()), "nothing is open between batches");
    }
}

#[test]
fn chain_is_extended_unparsed_only_by_what_would_be_merged() {
    for kind in kinds() {
        let [first, second] = stream(&kind, 2, 40).try_into().unwrap();
        let good = second.bytes();
        for at in 0..good.len() {
            for bits in [0x01, 0x08, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= bits;
                let mut bench = Bench::new(BOTH);
                bench.push(&first);
                let is_extended = bench.extend(&bytes);
                let is_merged = is_merged(&first, &bytes);
                assert!(!is_extended || is_merged, "{kind:?}, byte {at} ^ {bits:#x}");
                let is_right_again = kind.layer() == Layer::L3 || at >= 14;
                assert!(is_extended || !is_merged || !is_right_again, "{kind:?}, {at} ^ {bits:#x}");
            }
        }
        for len in 0..good.len() {
            let mut bench = Bench::new(BOTH);
            bench.push(&first);
            assert!(!bench.extend(&good[..len]), "{kind:?} cut to {len}");
        }
    }
}

/// Whether a packet is merged with one before it when it is parsed.
fn is_merged(first: &Packet, bytes: &[u8]) -> bool {
    let Ok(headers) = Headers::parse(bytes, first.layer()) else { return false };
    let mut bench = Bench::new(BOTH);
    bench.push(first);
    let piece = bench.store(bytes);
    bench.coalescer.push(&mut bench.memory, piece, &headers, first.layer());
    bench.finish().len() == 1
}

#[test]
fn nothing_is_extended_behind_a_packet_that_did_not_merge() {
    let packets = stream(&Packet::tcp4(), 3, 100);
    let mut bench = Bench::new(BOTH);
    bench.push(&packets[0]);
    bench.push(&Packet::icmp4(8));
    assert!(!bench.extend(&packets[1].bytes()));
    bench.push(&packets[1]);
    assert!(bench.extend(&packets[2].bytes()));
    assert_eq!(counts(&bench.finish()), [3, 1]);
}

#[test]
fn single_packets_are_written_as_they_came() {
    for kind in kinds() {
        let packet = kind.payload(700);
        assert_eq!(coalesce(std::slice::from_ref(&packet)), [as_it_came(&packet)]);
    }
}

#[test]
fn shorter_segment_joins_and_ends_the_chain() {
    for kind in [Packet::tcp4(), Packet::udp6()] {
        let mut packets = stream(&kind, 2, 1000);
        packets.push(kind.clone().seq(0x1000_0000 + 2000).id(2).payload(500));
        packets.push(kind.clone().seq(0x1000_0000 + 2500).id(3).payload(500));
        assert_eq!(counts(&coalesce(&packets)), [3, 1]);
    }
}

#[test]
fn longer_segment_begins_a_chain() {
    for kind in [Packet::tcp4(), Packet::udp6()] {
        let mut packets = stream(&kind, 2, 1000);
        packets.push(kind.clone().seq(0x1000_0000 + 2000).id(2).payload(1001));
        packets.push(kind.clone().seq(0x1000_0000 + 3001).id(3).payload(1001));
        assert_eq!(counts(&coalesce(&packets)), [2, 2]);
    }
}

#[test]
fn push_flag_ends_the_chain_and_stands_in_the_merged_header() {
    let mut packets = stream(&Packet::tcp4(), 4, 1000);
    packets[1] = packets[1].clone().flags(flag::ACK | flag::PSH);
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes), [2, 2]);
    assert_eq!((writes[0].bytes[33], writes[1].bytes[33]), (0x18, 0x10));
    packets[0] = packets[0].clone().flags(flag::ACK | flag::PSH);
    assert_eq!(counts(&coalesce(&packets)), [1, 1, 2]);
}

#[test]
fn other_flags_end_the_chain_and_are_written_as_they_came() {
    for flag in [flag::FIN, flag::SYN, flag::RST, flag::URG, flag::CWR] {
        let mut packets = stream(&Packet::tcp4(), 5, 1000);
        packets[2] = packets[2].clone().flags(flag::ACK | flag);
        let writes = coalesce(&packets);
        assert_eq!(counts(&writes), [2, 1, 2]);
        assert_eq!(writes[1], as_it_came(&packets[2]));
    }
    let packet = Packet::tcp4().flags(0);
    assert_apart(packet.clone().payload(10), packet.seq(0x1000_000a).payload(10));
}

#[test]
fn pure_acknowledgement_does_not_end_the_chain() {
    let mut packets = stream(&Packet::tcp4(), 4, 1000);
    let ack = Packet::tcp4().seq(0x1000_0000 + 2000);
    packets.insert(2, ack.clone());
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes), [4, 1]);
    assert_eq!(writes[1], as_it_came(&ack));
}

#[test]
fn headers_that_differ_are_not_merged() {
    let tcp = || Packet::tcp4().dont_fragment().tagged(&[5]).payload(100);
    let next = || tcp().seq(0x1000_0000 + 100);
    assert_eq!(counts(&coalesce(&[tcp(), next()])), [2]);
    let timestamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    for second in [
        next().tos(1),
        next().tos(0x10),
        next().hop_limit(63),
        next().ack(7),
        next().ports(40_001, 5201),
        next().src4([10, 9, 0, 7]),
        next().options(&timestamps),
        next().flags(flag::ACK | flag::ECE),
        next().seq(0x1000_0000 + 99),
        next().seq(0x1000_0000),
        next().tagged(&[6]),
        next().tagged(&[]),
        next().src_mac([2, 0, 0, 0, 0, 9]),
        next().dst_mac([2, 0, 0, 0, 0, 9]),
        next().ip_options(&[1, 1, 1, 1]),
        Packet::tcp4().tagged(&[5]).seq(0x1000_0000 + 100).payload(100),
    ] {
        assert_apart(tcp(), second);
    }
    let udp = || Packet::udp6().payload(100);
    for second in [
        udp().tos(3),
        udp().hop_limit(1),
        udp().flow_label(9),
        udp().dst6("fd00:9::7"),
        udp().extensions(60, &[17, 0, 1, 4, 0, 0, 0, 0]),
        udp().ports(40_001, 5201),
        Packet::tcp6().payload(100),
        Packet::udp4().payload(100),
    ] {
        assert_apart(udp(), second);
    }
    let with = |last: u8| {
        let mut options = timestamps;
        options[11] = last;
        tcp().options(&options)
    };
    assert_apart(with(1), with(2).seq(0x1000_0000 + 100));
}

#[test]
fn merged_packet_carries_the_last_window() {
    let mut packets = stream(&Packet::tcp6(), 3, 100);
    packets[2] = packets[2].clone().window(0x1234);
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes), [3]);
    assert_eq!(writes[0].bytes[54..56], [0x12, 0x34]);
}

#[test]
fn identification_counts_up_unless_the_packet_may_not_be_fragmented() {
    let packet = |id| Packet::udp4().id(id).payload(100);
    assert_eq!(counts(&coalesce(&[packet(u16::MAX), packet(0), packet(1)])), [3]);
    assert_apart(packet(5), packet(5));
    assert_apart(packet(5), packet(7));
    let fixed = |id| packet(id).dont_fragment();
    assert_eq!(counts(&coalesce(&[fixed(0), fixed(0), fixed(9)])), [3]);
}

#[test]
fn invalid_checksum_is_written_alone_and_untouched() {
    for kind in kinds() {
        let mut packets = stream(&kind, 5, 300);
        packets[2] = packets[2].clone().wrong_checksum();
        let mut bench = Bench::new(BOTH);
        let checks: Vec<Check> = packets.iter().map(|packet| bench.push(packet)).collect();
        assert_eq!(checks[2], Check::Invalid);
        assert!(checks[..2].iter().chain(&checks[3..]).all(|check| *check == Check::Valid));
        let writes = bench.finish();
        assert_eq!(counts(&writes), [2, 1, 2]);
        assert_eq!(writes[1], as_it_came(&packets[2]));
    }
}

#[test]
fn wrong_ipv4_header_checksum_is_not_made_right_by_merging() {
    let mut segments: Vec<_> = stream(&Packet::tcp4(), 3, 1000).iter().map(Packet::bytes).collect();
    segments[1][10] ^= 1;
    let mut bench = Bench::new(BOTH);
    for segment in &segments {
        bench.push_bytes(segment, Layer::L3);
    }
    let written: Vec<_> = bench.finish().into_iter().map(|write| write.bytes).collect();
    assert_eq!(written, segments);
}

#[test]
fn packet_taken_alone_is_neither_changed_nor_overtaken() {
    let mut bench = Bench::new(BOTH);
    let packets = stream(&Packet::tcp4(), 4, 1000);
    bench.push(&packets[0]);
    let alone = bench.store(&packets[1].bytes());
    bench.coalescer.push_alone(&bench.memory, alone, &packets[1].headers());
    bench.push(&packets[2]);
    bench.push(&packets[3]);
    let writes = bench.finish();
    assert_eq!(counts(&writes), [1, 1, 2]);
    assert_eq!(writes[..2], [as_it_came(&packets[0]), as_it_came(&packets[1])]);
}

#[test]
fn partial_checksum_is_passed_on_for_the_kernel_to_finish() {
    for enabled in [BOTH, Coalesce { tcp: false, udp: false, big_tcp: BigTcp::Never }] {
        for kind in kinds() {
            let packet = kind.payload(300).partial();
            let mut bench = Bench::new(enabled);
            assert_eq!(bench.push(&packet), Check::Partial);
            let headers = packet.headers();
            let vnet = VnetHeader::of(&headers, Gso::None);
            assert!(vnet.needs_checksum());
            assert_eq!(bench.finish(), [Written { vnet, bytes: packet.bytes(), packets: 1 }]);
        }
    }
}

#[test]
fn udp_without_checksum_is_written_alone() {
    let packet = Packet::udp4().dont_fragment().zero_checksum().payload(100);
    assert_apart(packet.clone(), packet);
}

#[test]
fn padded_frames_are_written_with_their_padding() {
    let packet = Packet::udp4().dont_fragment().tagged(&[]).payload(4).padding(14);
    assert_apart(packet.clone(), packet.clone());
    let whole = Packet::udp4().dont_fragment().tagged(&[]).payload(4);
    assert_apart(whole.clone(), packet.clone());
    assert_apart(packet, whole);
}

#[test]
fn fragments_and_other_protocols_are_written_alone_and_keep_their_place() {
    let data = || Packet::udp4().dont_fragment().payload(100);
    let fragment = Packet::udp4().fragment(0, true).payload(100);
    let icmp = Packet::icmp4(8).payload(100);
    let writes = coalesce(&[data(), data(), fragment.clone(), data(), icmp.clone(), data()]);
    assert_eq!(counts(&writes), [2, 1, 2, 1]);
    assert_eq!((&writes[1], &writes[3]), (&as_it_came(&fragment), &as_it_came(&icmp)));
}

#[test]
fn frames_that_are_not_ip_are_written_as_they_came() {
    let mut bench = Bench::new(BOTH);
    let mut frame = vec![7; 60];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    assert_eq!(bench.push_bytes(&frame, Layer::L2), Check::Absent);
    let expected = Written { vnet: VnetHeader::default(), bytes: frame, packets: 1 };
    assert_eq!(bench.finish(), [expected]);
}

#[test]
fn empty_payloads_are_written_alone() {
    assert_apart(Packet::udp6(), Packet::udp6());
    assert_apart(Packet::tcp6(), Packet::tcp6());
}

#[test]
fn chain_never_passes_the_largest_ip_packet() {
    for kind in [Packet::tcp4(), Packet::tcp6().tagged(&[1])] {
        let writes = coalesce(&stream(&kind, 100, 1400));
        assert_eq!(writes.iter().map(|write| write.packets).sum::<u32>(), 100);
        for write in &writes {
            let headers = Headers::parse(&write.bytes, kind.layer()).unwrap();
            assert!(headers.end_at() - headers.l3_at() <= 65_535);
            assert_eq!(headers.end_at(), write.bytes.len());
        }
        assert_eq!(counts(&writes), [46, 46, 8]);
    }
}

#[test]
fn chain_never_has_more_datagrams_or_pieces_than_the_kernel_takes() {
    assert_eq!(counts(&coalesce(&stream(&Packet::udp6(), 130, 64))), [64, 64, 2]);
    assert_eq!(counts(&coalesce(&stream(&Packet::tcp6(), 1030, 10))), [512, 512, 6]);
}

#[test]
fn mixed_flows_merge_each_for_itself_in_order_of_their_first_packets() {
    let flow = |port: u16| stream(&Packet::tcp4().ports(port, 80), 4, 500);
    let flows: Vec<_> = (0..10).map(flow).collect();
    let mut packets = Vec::new();
    for turn in 0..4 {
        packets.extend(flows.iter().map(|flow| flow[turn].clone()));
    }
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes), [4; 10]);
    for (port, write) in writes.iter().enumerate() {
        assert_eq!(write.bytes[20..22], (port as u16).to_be_bytes());
    }
}

#[test]
fn more_flows_than_open_chains_lose_merges_and_nothing_else() {
    let mut packets = Vec::new();
    for turn in 0..3_usize {
        for port in 0..40 {
            packets.push(stream(&Packet::tcp4().ports(port, 80), 3, 100)[turn].clone());
        }
    }
    let writes = coalesce(&packets);
    assert_eq!(counts(&writes).iter().sum::<u32>(), 120);
    let bytes: usize = writes.iter().map(|write| write.bytes.len() - 40).sum();
    assert_eq!(bytes, 120 * 100);
}

#[test]
fn protocols_that_are_switched_off_are_not_merged_or_looked_at() {
    let packets = [stream(&Packet::tcp4(), 3, 100), stream(&Packet::udp4(), 3, 100)].concat();
    let count = |tcp, udp| {
        let mut bench = Bench::new(Coalesce { tcp, udp, big_tcp: BigTcp::Never });
        let checks: Vec<Check> = packets.iter().map(|packet| bench.push(packet)).collect();
        assert_eq!((checks[0] == Check::Valid, checks[3] == Check::Valid), (tcp, udp));
        counts(&bench.finish())
    };
    assert_eq!(count(true, true), [3, 3]);
    assert_eq!(count(true, false), [3, 1, 1, 1]);
    assert_eq!(count(false, true), [1, 1, 1, 3]);
    assert_eq!(count(false, false), [1; 6]);
}

#[test]
fn captured_super_packet_is_one_write_that_ends_its_flow() {
    for (capture, gso, count) in [
        (captures::TCP4_SUPER, Gso::Tcp { size: 1398 }, 5),
        (captures::UDP6_SUPER, Gso::Udp { size: 1000 }, 5),
    ] {
        let mut bench = Bench::new(BOTH);
        let bytes = capture.inner();
        let piece = bench.store(&bytes);
        let headers = Headers::parse(&bytes, capture.layer).unwrap();
        bench.coalescer.push_super(&mut bench.memory, piece, &headers, capture.layer, gso);
        let writes = bench.finish();
        assert_eq!(
            writes,
            [Written { vnet: VnetHeader::of(&headers, gso), bytes, packets: count }]
        );
        assert_eq!(writes[0].vnet.gso_of(&headers), Ok(gso));
    }
}

#[test]
fn super_packet_is_never_overtaken_by_data_of_its_flow() {
    let mut bench = Bench::new(BOTH);
    let packets = stream(&Packet::tcp4(), 6, 1000);
    bench.push(&packets[0]);
    let large = Packet::tcp4().seq(0x1000_0000 + 1000).payload(4000).partial();
    let piece = bench.store(&large.bytes());
    let gso = Gso::Tcp { size: 1000 };
    bench.coalescer.push_super(&mut bench.memory, piece, &large.headers(), Layer::L3, gso);
    bench.push(&packets[5]);
    assert_eq!(counts(&bench.finish()), [1, 4, 1]);
}

#[test]
fn neighbouring_payloads_become_one_piece() {
    let mut pieces = vec![Piece { start: 10, len: 5 }];
    push_joined(&mut pieces, Piece { start: 15, len: 5 });
    push_joined(&mut pieces, Piece { start: 21, len: 5 });
    assert_eq!(pieces, [Piece { start: 10, len: 10 }, Piece { start: 21, len: 5 }]);
}

#[test]
fn later_batches_need_no_new_memory_and_remember_nothing() {
    let mut bench = Bench::new(BOTH);
    let packets = stream(&Packet::tcp4(), 40, 1000);
    packets.iter().for_each(|packet| {
        bench.push(packet);
    });
    bench.finish();
    let room = (bench.coalescer.chains.capacity(), bench.coalescer.members.capacity());
    // The stream goes on where the last batch ended, and still begins a chain of its own.
    bench.push(&Packet::tcp4().seq(0x1000_0000 + 40_000).id(40).payload(1000));
    assert_eq!(counts(&bench.finish()), [1]);
    packets.iter().for_each(|packet| {
        bench.push(packet);
    });
    assert_eq!(counts(&bench.finish()), [40]);
    assert_eq!(room, (bench.coalescer.chains.capacity(), bench.coalescer.members.capacity()));
}

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

#[test]
fn packet_that_also_goes_elsewhere_is_not_merged_or_changed() {
    let mut bench = Bench::new(BOTH);
    let packets = stream(&Packet::tcp4(), 4, 1000);
    for (i, packet) in packets.iter().enumerate() {
        if i == 0 {
            bench.push(packet);
            continue;
        }
        let piece = bench.store(&packet.bytes());
        let check = bench.coalescer.push_alone(&bench.memory, piece, &packet.headers());
        assert_eq!(check, Check::Valid);
    }
    assert_eq!(bench.finish(), packets.iter().map(as_it_came).collect::<Vec<_>>());
}

/// `count` segments of `size` bytes, every 44th pushed, as a sender's GSO packets end.
fn pushed_stream(packet: &Packet, count: usize, size: usize) -> Vec<Packet> {
    let packets = stream(packet, count, size).into_iter().enumerate();
    let push = |(index, packet): (usize, Packet)| match index % 44 {
        43 => packet.flags(flag::ACK | flag::PSH),
        _ => packet,
    };
    packets.map(push).collect()
}

fn merged(big_tcp: BigTcp, packets: &[Packet]) -> Vec<Written> {
    let mut bench = Bench::new(Coalesce { big_tcp, ..BOTH });
    packets.iter().for_each(|packet| {
        bench.push(packet);
    });
    bench.finish()
}

#[test]
fn tcp_for_the_host_becomes_larger_than_ip_has_a_length_for() {
    let own_mac = Packet::tcp4().tagged(&[]).headers().link.unwrap().dst;
    for (packet, big_tcp) in
        [(Packet::tcp4(), BigTcp::Always), (Packet::tcp4().tagged(&[]), BigTcp::To(own_mac))]
    {
        let packets = pushed_stream(&packet, 300, 1000);
        let writes = merged(big_tcp, &packets);
        let most = (256 * 1024 - 20 - 20) / 1000;
        assert_eq!(counts(&writes), [most, 300 - most]);
        let headers = packets[0].headers();
        let Written { vnet, bytes, .. } = &writes[0];
        assert_eq!(*vnet, VnetHeader::of(&headers, Gso::Tcp { size: 1000 }));
        let payload = headers.payload_start();
        assert_eq!(bytes.len(), payload + 1000 * most as usize);
        let (ip, segment) = (&bytes[headers.l3_at()..headers.l4_at()], &bytes[headers.l4_at()..]);
        assert_eq!(ip[2..4], [0, 0], "no length");
        assert_eq!(crate::frame::checksum::ipv4_header(ip).to_be_bytes(), ip[10..12]);
        assert_eq!(segment[13], flag::ACK | flag::PSH);
        let mut pseudo = crate::frame::checksum::Sum::new();
        pseudo.add_bytes(&ip[12..20]);
        pseudo.add_u16(6);
        pseudo.add_u32(segment.len() as u32);
        assert_eq!(segment[16..18], pseudo.fold().to_be_bytes(), "the sum of the pseudo-header");
        let mut expected = Vec::new();
        for packet in &packets[..most as usize] {
            expected.extend_from_slice(&packet.bytes()[payload..]);
        }
        assert!(bytes[payload..] == expected, "the payloads in their order");
        let len = |write: &Written| {
            u16::from_be_bytes([write.bytes[headers.l3_at() + 2], write.bytes[headers.l3_at() + 3]])
        };
        assert_eq!(usize::from(len(&writes[1])), 40 + 1000 * (300 - most as usize));
    }
}

#[test]
fn only_tcp_over_ipv4_for_the_host_becomes_that_large() {
    let other = Mac([2, 0, 0, 0, 9, 9]);
    let cases = [
        (Packet::tcp6(), BigTcp::Always),
        (Packet::udp4(), BigTcp::Always),
        (Packet::tcp4(), BigTcp::Never),
        (Packet::tcp4(), BigTcp::To(other)),
        (Packet::tcp4().tagged(&[]), BigTcp::To(other)),
    ];
    for (packet, big_tcp) in cases {
        let writes = merged(big_tcp, &stream(&packet, 200, 1000));
        assert!(writes.len() > 3, "{packet:?}");
        assert!(writes.iter().all(|write| write.bytes.len() <= 65_535 + 14), "{packet:?}");
    }
}

#[test]
fn push_ends_a_chain_of_usual_size() {
    let packets = pushed_stream(&Packet::tcp4(), 50, 1000);
    assert_eq!(counts(&merged(BigTcp::Never, &packets)), [44, 6]);
}
