use super::*;

/// Both layers, and a packet from the host behind A to the one behind B.
fn from_a_to_b() -> [(Layer, Packet); 3] {
    let packet = |packet: Packet| {
        let packet = packet.src_mac(MAC_A).dst_mac(MAC_B);
        packet.src4(IP_A).dst4(IP_B).src6("fd00:9::2").dst6("fd00:9::3").payload(500)
    };
    [
        (Layer::L2, packet(Packet::udp4()).tagged(&[])),
        (Layer::L3, packet(Packet::udp4())),
        (Layer::L3, packet(Packet::udp6())),
    ]
}

fn relay(layer: Layer) -> Bench {
    let mut bench = Bench::relay(layer);
    if layer == Layer::L2 {
        bench.teach(B, MAC_B);
    }
    bench
}

#[test]
fn without_relay_no_frame_goes_from_peer_to_peer() {
    let mut bench = Bench::new(Layer::L2);
    bench.teach(B, MAC_B);
    bench.receive(A, &inward(Packet::udp4().tagged(&[])).dst_mac(MAC_B));
    assert_eq!(bench.finish(), (vec![], vec![]));
    bench.assert_drops(DropReason::SplitHorizon, Some(NET), Some(A), 1);
}

#[test]
fn without_relay_a_flood_from_a_peer_is_for_the_device_only() {
    for dst in [BROADCAST, MAC_HERE] {
        let mut bench = Bench::new(Layer::L2);
        let frame = inward(Packet::udp4().tagged(&[])).dst_mac(dst);
        bench.receive(A, &frame);
        assert_eq!(bench.written()[0].bytes, frame.bytes());
    }
    let mut bench = Bench::new(Layer::L3);
    let packet = Packet::udp4().src4(IP_A).dst4([224, 0, 0, 5]).hop_limit(1);
    bench.receive(A, &packet);
    assert_eq!(bench.written()[0].bytes, packet.bytes());
    bench.assert_no_drops();
}

#[test]
fn without_relay_packets_from_a_peer_to_another_are_for_the_device() {
    let mut bench = Bench::new(Layer::L3);
    let packet = Packet::udp4().src4(IP_A).dst4(IP_B);
    bench.receive(A, &packet);
    assert_eq!(bench.written()[0].bytes, packet.bytes());
}

#[test]
fn relayed_frame_is_what_came_and_a_relayed_packet_has_one_hop_less() {
    for (layer, packet) in from_a_to_b() {
        let mut bench = relay(layer);
        bench.receive(A, &packet.clone().hop_limit(9));
        let hops = if layer == Layer::L2 { 9 } else { 8 };
        let sent = bench.sent();
        assert_eq!(peers_of(&sent), [B]);
        assert_eq!(sent[0].bytes, datagram(VNI, &packet.hop_limit(hops)));
        bench.assert_no_drops();
    }
}

#[test]
fn hop_limit_ends_at_a_relay_of_packets_only() {
    for (layer, packet) in from_a_to_b() {
        let mut bench = relay(layer);
        bench.receive(A, &packet.hop_limit(1));
        match layer {
            Layer::L2 => assert_eq!(bench.sent().len(), 1),
            Layer::L3 => {
                assert_eq!(bench.sent(), []);
                bench.assert_drops(DropReason::HopLimit, Some(NET), Some(A), 1);
            }
        }
    }
}

#[test]
fn relayed_flood_goes_to_the_device_and_to_all_peers_but_the_one_it_came_from() {
    let mut bench = Bench::relay(Layer::L2);
    let frame = inward(Packet::udp4().tagged(&[])).dst_mac(BROADCAST);
    bench.receive(A, &frame);
    let (sent, written) = bench.finish();
    assert_eq!(peers_of(&sent), [B, C]);
    assert!(sent.iter().all(|one| one.bytes == datagram(VNI, &frame)));
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].bytes, frame.bytes());
}

#[test]
fn relayed_multicast_has_one_hop_less_so_that_it_ends() {
    let mut bench = Bench::relay(Layer::L3);
    let packet = |hops| Packet::udp4().src4(IP_A).dst4([224, 1, 1, 1]).hop_limit(hops);
    bench.receive(A, &packet(2));
    let (sent, written) = bench.finish();
    assert_eq!(peers_of(&sent), [B, C]);
    assert!(sent.iter().all(|one| one.bytes == datagram(VNI, &packet(1))));
    assert_eq!(written.len(), 1);
    bench.assert_no_drops();
}

#[test]
fn multicast_whose_hop_limit_ended_is_for_the_device_only() {
    let mut bench = Bench::relay(Layer::L3);
    let packet = Packet::udp4().src4(IP_A).dst4([224, 0, 0, 5]).hop_limit(1);
    bench.receive(A, &packet);
    assert_eq!(bench.written()[0].bytes, packet.bytes());
    bench.assert_drops(DropReason::HopLimit, Some(NET), Some(A), 1);
}

#[test]
fn packet_for_a_shared_prefix_has_one_hop_less_so_that_it_ends() {
    let mut bench = Bench::relay(Layer::L3);
    let packet = |hops| Packet::udp4().src4(IP_A).dst4([192, 168, 30, 5]).hop_limit(hops);
    bench.receive(A, &packet(2));
    let sent = bench.sent();
    assert_eq!(peers_of(&sent), [B, C]);
    assert!(sent.iter().all(|one| one.bytes == datagram(VNI, &packet(1))));
    bench.receive(A, &packet(1));
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::HopLimit, Some(NET), Some(A), 1);
}

#[test]
fn relayed_flood_is_not_changed_by_what_the_device_gets() {
    let mut bench = Bench::relay(Layer::L2);
    let segment = |i: u32| {
        let frame = inward(Packet::tcp4().tagged(&[])).dst_mac([2, 0, 0, 0, 0, 0x77]);
        frame.seq(1 + i * 1000).id(i as u16).payload(1000)
    };
    let frames: Vec<_> = (0..4).map(segment).collect();
    let datagrams: Vec<_> = frames.iter().map(|frame| datagram(VNI, frame)).collect();
    bench.receive_run(A, &datagrams);
    let (sent, written) = bench.finish();
    for peer in [B, C] {
        let of_peer = sent.iter().filter(|one| one.peer == peer);
        assert_eq!(of_peer.map(|one| one.bytes.clone()).collect::<Vec<_>>(), datagrams);
    }
    let frames = frames.iter().map(Packet::bytes);
    assert_eq!(
        written.into_iter().map(|one| one.bytes).collect::<Vec<_>>(),
        frames.collect::<Vec<_>>()
    );
}

#[test]
fn nothing_goes_back_to_the_peer_that_it_came_from() {
    let mut bench = Bench::relay(Layer::L2);
    bench.teach(A, MAC_B);
    bench.receive(A, &inward(Packet::udp4().tagged(&[])).dst_mac(MAC_B));
    assert_eq!(bench.finish(), (vec![], vec![]));
    bench.assert_drops(DropReason::SameSide, Some(NET), Some(A), 1);
}

#[test]
fn partial_checksum_is_completed_on_a_relay() {
    for (layer, packet) in from_a_to_b() {
        let mut bench = relay(layer);
        bench.receive(A, &packet.partial());
        parse_valid(&inner(&bench.sent())[0], layer);
    }
}

#[test]
fn partial_checksum_of_a_relayed_flood_is_right_on_both_sides() {
    let mut bench = Bench::relay(Layer::L2);
    let frame = inward(Packet::udp4().tagged(&[])).dst_mac(BROADCAST).payload(100);
    bench.receive(A, &frame.clone().partial());
    let (sent, written) = bench.finish();
    assert_eq!(inner(&sent), [frame.bytes(), frame.bytes()]);
    assert_eq!((&written[0].bytes, written[0].vnet), (&frame.bytes(), VnetHeader::default()));
}

#[test]
fn wrong_checksum_is_relayed_as_it_came() {
    let mut bench = relay(Layer::L2);
    let frame = inward(Packet::udp4().tagged(&[])).dst_mac(MAC_B).payload(100).wrong_checksum();
    bench.receive(A, &frame);
    assert_eq!(inner(&bench.sent()), [frame.bytes()]);
}

#[test]
fn congestion_on_the_first_half_of_the_way_is_told_on_the_second() {
    let mut bench = relay(Layer::L3);
    let packet = |tos| Packet::udp4().src4(IP_A).dst4(IP_B).tos(tos).hop_limit(9);
    bench.receive_as(A, &datagram(VNI, &packet(0x02)), |received| received.tos = 0x03);
    let sent = bench.sent();
    assert_eq!(sent[0].tos, 0x03);
    assert_eq!(sent[0].bytes, datagram(VNI, &packet(0x03).hop_limit(8)));
}

#[test]
fn too_large_for_the_second_half_of_the_way_is_answered_to_the_peer_it_came_from() {
    for (layer, packet) in from_a_to_b() {
        let mut bench = relay(layer);
        bench.node.handle_path_mtu(B, 600);
        let large = packet.clone().dont_fragment().payload(1400);
        let used = IpAddr::from([198, 51, 100, 7]);
        bench.receive_as(A, &datagram(VNI, &large), |received| received.local = Some(used));
        let sent = bench.sent();
        assert_eq!(peers_of(&sent), [A]);
        let endpoint = if layer == Layer::L2 { "192.0.2.2:4789" } else { "192.0.2.2:4790" };
        assert_eq!((sent[0].to, sent[0].from), (endpoint.parse().unwrap(), Some(used)));
        assert_eq!(sent[0].bytes[..8], datagram(VNI, &packet)[..8]);
        let answer = &inner(&sent)[0];
        let (headers, was) = (parse_valid(answer, layer), large.headers());
        assert!(matches!(headers.l4, L4::Icmp4 { kind: 3 } | L4::Icmp6 { kind: 2 }));
        assert_eq!(headers.source_ip(), was.destination_ip());
        assert_eq!(headers.destination_ip(), was.source_ip());
        bench.assert_drops(DropReason::TooBig, Some(NET), Some(B), 1);
    }
}
