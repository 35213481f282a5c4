use super::*;

#[test]
fn frame_becomes_a_vxlan_datagram() {
    let mut bench = Bench::new(Layer::L2);
    bench.teach(A, MAC_A);
    let frame = Packet::udp4().tagged(&[]).payload(100);
    bench.device(&frame);
    let sent = bench.sent();
    let [one] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(one.bytes, [&[0x08, 0, 0, 0, 0, 0, 42, 0][..], &frame.bytes()].concat());
    assert_eq!(one.to, "192.0.2.2:4789".parse().unwrap());
    assert_eq!((one.peer, one.network, one.tos), (A, NET, 0));
    bench.assert_no_drops();
}

#[test]
fn packet_becomes_a_gpe_datagram_by_its_ip_version() {
    for (packet, next) in [(Packet::udp4().payload(9), 1), (Packet::tcp6().payload(9), 2)] {
        let mut bench = Bench::new(Layer::L3);
        bench.device(&packet);
        let sent = bench.sent();
        let [one] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(one.bytes, [&[0x0c, 0, 0, next, 0, 0, 42, 0][..], &packet.bytes()].concat());
        assert_eq!((one.to, one.peer), ("192.0.2.2:4790".parse().unwrap(), A));
        bench.assert_no_drops();
    }
}

#[test]
fn tcp_gso_packet_becomes_one_run_of_right_segments() {
    for (layer, packet) in [
        (Layer::L2, Packet::tcp4().tagged(&[])),
        (Layer::L2, Packet::tcp6().tagged(&[9])),
        (Layer::L3, Packet::tcp4()),
        (Layer::L3, Packet::tcp6()),
    ] {
        let mut bench = Bench::with(layer, |settings| settings.peers.truncate(1));
        bench.device_gso(&pushed(&packet, 5000), Gso::Tcp { size: 1300 });
        assert_eq!(bench.out.transmits.len(), 1);
        let sent = bench.sent();
        assert_eq!(inner(&sent), tcp_segments(&packet, 5000, 1300));
        let header = datagram(VNI, &packet)[..8].to_vec();
        assert!(sent.iter().all(|one| one.bytes[..8] == header));
        bench.assert_no_drops();
    }
}

#[test]
fn udp_gso_packet_becomes_one_run_of_datagrams() {
    let mut bench = Bench::new(Layer::L3);
    bench.device_gso(&Packet::udp4().payload(2500), Gso::Udp { size: 1000 });
    assert_eq!(bench.out.transmits.len(), 1);
    let payload = payload_of(&Packet::udp4(), 2500);
    let expected = payload
        .chunks(1000)
        .enumerate()
        .map(|(i, part)| Packet::udp4().id(0x1234 + i as u16).payload_bytes(part.to_vec()).bytes());
    assert_eq!(inner(&bench.sent()), expected.collect::<Vec<_>>());
}

#[test]
fn partial_checksum_is_completed() {
    for packet in [Packet::tcp4().payload(99), Packet::udp6().payload(100)] {
        let mut bench = Bench::new(Layer::L3);
        bench.device_gso(&packet, Gso::None);
        assert_eq!(inner(&bench.sent()), [packet.bytes()]);
    }
}

#[test]
fn flow_keeps_its_lane_and_flows_spread_over_all() {
    let mut bench = Bench::with(Layer::L3, |settings| settings.networks.truncate(1));
    let mut used = [false; 4];
    for port in 1..100 {
        for _ in 0..2 {
            bench.device(&Packet::udp4().ports(port, 53).payload(1));
        }
        let sent = bench.sent();
        assert_eq!(sent[0].entropy, sent[1].entropy);
        used[usize::from(sent[0].entropy)] = true;
    }
    assert_eq!(used, [true; 4]);
}

#[test]
fn all_segments_of_a_flow_take_the_lane_of_its_single_packets() {
    let mut bench = Bench::new(Layer::L3);
    bench.device_gso(&pushed(&Packet::tcp4(), 3000), Gso::Tcp { size: 1000 });
    bench.device(&Packet::tcp4());
    let sent = bench.sent();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|one| one.entropy == sent[0].entropy));
}

#[test]
fn answer_leaves_from_the_address_that_the_peer_used() {
    let mut bench = Bench::new(Layer::L3);
    bench.device(&Packet::udp4());
    assert_eq!(bench.sent()[0].from, None);
    let used = IpAddr::from([198, 51, 100, 7]);
    bench.receive_as(A, &datagram(VNI, &inward(Packet::udp4())), |received| {
        received.local = Some(used);
    });
    bench.discard();
    bench.device(&Packet::udp4());
    bench.device(&Packet::udp4().dst4(IP_B));
    let sent = bench.sent();
    assert_eq!((sent[0].peer, sent[0].from), (A, Some(used)));
    assert_eq!((sent[1].peer, sent[1].from), (B, None));
}

#[test]
fn packet_without_a_route_is_dropped() {
    let mut bench = Bench::new(Layer::L3);
    bench.device(&Packet::udp4().dst4([203, 0, 113, 1]));
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::NoRoute, Some(NET), None, 1);
}

#[test]
fn frame_to_a_host_behind_the_device_stays_there() {
    let mut bench = Bench::new(Layer::L2);
    bench.device(&Packet::udp4().tagged(&[]).src_mac(MAC_A).dst_mac(BROADCAST));
    bench.discard();
    bench.device(&Packet::udp4().tagged(&[]).dst_mac(MAC_A));
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::SameSide, Some(NET), None, 1);
}

#[test]
fn truncated_packet_is_malformed_at_every_length() {
    for (layer, whole) in
        [(Layer::L2, Packet::tcp4().tagged(&[7]).bytes()), (Layer::L3, Packet::tcp6().bytes())]
    {
        for len in 0..whole.len() {
            let mut bench = Bench::new(layer);
            bench.device_bytes(&whole[..len], VnetHeader::default());
            assert_eq!(bench.sent(), []);
            bench.assert_drops(DropReason::Malformed, Some(NET), None, 1);
        }
    }
}

#[test]
fn offload_header_that_contradicts_the_packet_is_refused() {
    let packet = Packet::udp4().payload(3000);
    let mut bench = Bench::new(Layer::L3);
    let vnet = VnetHeader { gso_type: 1, gso_size: 1000, ..VnetHeader::default() };
    bench.device_bytes(&packet.bytes(), vnet);
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::VnetHeader, Some(NET), Some(A), 3);
    let mut bench = Bench::new(Layer::L3);
    let vnet = VnetHeader { gso_type: 0x33, gso_size: 1, ..VnetHeader::default() };
    bench.device_bytes(&packet.bytes(), vnet);
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::VnetHeader, Some(NET), None, 1);
}

#[test]
fn checksum_place_outside_the_packet_is_refused_even_where_it_would_be_fragmented() {
    for len in [100, 3000] {
        let mut bench = Bench::new(Layer::L3);
        let flags = VnetHeader::NEEDS_CSUM;
        let vnet = VnetHeader { flags, csum_start: 60_000, ..VnetHeader::default() };
        bench.device_bytes(&Packet::udp4().payload(len).bytes(), vnet);
        assert_eq!(bench.sent(), []);
        assert_eq!(bench.node.drops().total(), 1);
    }
}

#[test]
fn gso_packet_of_too_many_segments_is_dropped() {
    let mut bench = Bench::new(Layer::L3);
    bench.device_gso(&Packet::tcp4().payload(60_000), Gso::Tcp { size: 8 });
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::TooManySegments, Some(NET), Some(A), 7500);
}

#[test]
fn gso_packet_without_room_for_its_headers_is_dropped() {
    let mut bench = Bench::new(Layer::L3);
    // So small that there is no room for the headers in front of the packet.
    let count = HEADROOM / (8 + 40) + 2;
    let needed = count * (8 + 40);
    for (room, sent) in [(needed - 1, 0), (needed, count)] {
        bench.memory.take_header(HEADER_AREA - room).unwrap();
        bench.device_gso(&Packet::tcp4().payload(8 * count), Gso::Tcp { size: 8 });
        assert_eq!(bench.sent().len(), sent);
    }
    bench.assert_drops(DropReason::TooManySegments, Some(NET), Some(A), count as u64);
}

#[test]
fn segments_for_one_peer_are_laid_out_as_one_piece() {
    let most = HEADROOM / (8 + 40);
    for (count, is_one_piece) in [(2, true), (most, true), (most + 2, false)] {
        let mut bench = Bench::new(Layer::L3);
        let packet = Packet::tcp4();
        bench.device_gso(&pushed(&packet, 20 * count), Gso::Tcp { size: 20 });
        bench.node.finish_batch(&mut bench.memory, &mut bench.out);
        let runs = &bench.out.transmits;
        assert_eq!(runs.len(), count.div_ceil(64));
        assert_eq!(runs.iter().all(|run| run.pieces.len() == 1), is_one_piece, "{count} segments");
        assert_eq!(bench.memory.header_room() == HEADER_AREA, is_one_piece);
        assert_eq!(inner(&bench.sent()), tcp_segments(&packet, 20 * count, 20));
    }
}

#[test]
fn without_room_for_headers_too_large_is_only_counted() {
    let mut bench = Bench::new(Layer::L3);
    for packet in [Packet::udp4(), Packet::udp4().dont_fragment()] {
        bench.memory.take_header(HEADER_AREA).unwrap();
        bench.device(&packet.payload(2000));
        assert_eq!(bench.sent(), []);
    }
    bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 2);
}

#[test]
fn unknown_network_is_counted_in_the_total() {
    let mut bench = Bench::new(Layer::L3);
    let piece = bench.store(&Packet::udp4().bytes());
    let vnet = VnetHeader::default();
    let (now, network) = (bench.now, NetworkId(9));
    bench.node.handle_device(now, network, piece, vnet, &mut bench.memory, &mut bench.out);
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::UnknownVni, None, None, 1);
}
