use super::*;

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
