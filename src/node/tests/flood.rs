use super::*;

#[test]
fn broadcast_goes_to_every_peer_of_the_network() {
    let mut bench = Bench::new(Layer::L2);
    let frame = Packet::udp4().tagged(&[]).dst_mac(BROADCAST);
    bench.device(&frame);
    let sent = bench.sent();
    assert_eq!(peers_of(&sent), [A, B, C]);
    assert!(sent.iter().all(|one| one.bytes == datagram(VNI, &frame)));
    bench.assert_no_drops();
}

#[test]
fn flood_does_not_reach_peers_of_other_networks() {
    let mut bench = Bench::new(Layer::L2);
    let piece = bench.store(&Packet::udp4().tagged(&[]).bytes());
    let vnet = VnetHeader::default();
    let now = bench.now;
    bench.node.handle_device(now, OTHER, piece, vnet, &mut bench.memory, &mut bench.out);
    assert_eq!(peers_of(&bench.sent()), [A, B]);
}

#[test]
fn flooded_segments_are_cut_once_and_shared() {
    let mut bench = Bench::new(Layer::L2);
    let packet = Packet::tcp4().tagged(&[]);
    bench.device_gso(&pushed(&packet, 5000), Gso::Tcp { size: 1300 });
    bench.node.finish_batch(&mut bench.memory, &mut bench.out);
    let pieces = |run: &Transmit| {
        bench.out.pieces[run.pieces.start as usize..run.pieces.end as usize].to_vec()
    };
    let all: Vec<_> = bench.out.transmits.iter().map(pieces).collect();
    assert_eq!(all.len(), 3);
    assert!(all[0] == all[1] && all[1] == all[2]);
    assert_eq!(HEADER_AREA - bench.memory.header_room(), 4 * (8 + 54));
    let expected = tcp_segments(&packet, 5000, 1300);
    assert_eq!(inner(&bench.sent()), [&expected[..]; 3].concat());
}

#[test]
fn multicast_packet_goes_to_every_peer() {
    let mut bench = Bench::new(Layer::L3);
    bench.device(&Packet::udp4().dst4([224, 0, 0, 251]));
    bench.device(&Packet::udp6().dst6("ff02::fb"));
    bench.device(&Packet::udp4().dst4([10, 9, 0, 255]));
    assert_eq!(peers_of(&bench.sent()), [A, B, C, A, B, C, A, B, C]);
}

#[test]
fn host_of_a_shared_prefix_is_asked_for_at_all_that_share_it_until_it_speaks() {
    let mut bench = Bench::new(Layer::L3);
    let packet = Packet::udp4().dst4([192, 168, 30, 5]);
    bench.device(&packet);
    assert_eq!(peers_of(&bench.sent()), [B, C]);
    bench.receive(C, &Packet::udp4().src4([192, 168, 30, 5]).dst4(IP_HERE));
    bench.discard();
    bench.device(&packet);
    assert_eq!(peers_of(&bench.sent()), [C]);
}

#[test]
fn known_host_is_sent_to_its_peer_only_until_it_is_too_old() {
    let mut bench = Bench::new(Layer::L2);
    bench.teach(A, MAC_A);
    let frame = Packet::udp4().tagged(&[]);
    bench.device(&frame);
    assert_eq!(peers_of(&bench.sent()), [A]);
    bench.now += Duration::from_secs(301);
    bench.device(&frame);
    assert_eq!(peers_of(&bench.sent()), [A, B, C]);
    bench.now += Duration::from_secs(301);
    assert_eq!(bench.network().forwarding.entries_len(), 2);
    bench.node.handle_tick(bench.now);
    assert_eq!(bench.network().forwarding.entries_len(), 0);
}

#[test]
fn flood_faster_than_its_rate_is_dropped_with_all_its_packets() {
    let mut bench = Bench::with(Layer::L2, |settings| {
        settings.networks[0].rules.flood = FloodRate { rate_pps: 10, burst: 4 };
    });
    let packet = Packet::tcp4().tagged(&[]).payload(3000);
    bench.device_gso(&packet, Gso::Tcp { size: 1000 });
    assert_eq!(bench.sent().len(), 9);
    bench.device_gso(&packet, Gso::Tcp { size: 1000 });
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::FloodLimited, Some(NET), None, 3);
    bench.now += Duration::from_secs(1);
    bench.device_gso(&packet, Gso::Tcp { size: 1000 });
    assert_eq!(bench.sent().len(), 9);
}

#[test]
fn flood_without_peers_is_dropped() {
    let mut bench = Bench::with(Layer::L2, |settings| settings.peers.clear());
    bench.device(&Packet::udp4().tagged(&[]));
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::NoPeers, Some(NET), None, 1);
}

#[test]
fn peer_with_a_smaller_path_gets_smaller_segments_of_a_flood() {
    let mut bench = Bench::new(Layer::L2);
    bench.node.handle_path_mtu(B, 1000);
    let packet = Packet::tcp4().tagged(&[]);
    bench.device_gso(&pushed(&packet, 5000), Gso::Tcp { size: 1300 });
    let sent = bench.sent();
    let of = |peer| {
        let of_peer: Vec<_> = sent.iter().filter(|one| one.peer == peer).cloned().collect();
        inner(&of_peer)
    };
    assert_eq!(of(A), tcp_segments(&packet, 5000, 1300));
    assert_eq!(of(B), tcp_segments(&packet, 5000, 1000 - 36 - 54));
    assert_eq!(of(C), of(A));
    bench.assert_no_drops();
}

#[test]
fn peer_with_a_smaller_path_does_not_stop_a_flood_to_the_others() {
    let mut bench = Bench::new(Layer::L2);
    bench.node.handle_path_mtu(B, 1000);
    bench.device(&Packet::udp4().tagged(&[]).dont_fragment().dst_mac(BROADCAST).payload(1200));
    assert_eq!(peers_of(&bench.sent()), [A, C]);
    bench.assert_drops(DropReason::TooBig, Some(NET), Some(B), 1);
}

#[test]
fn flood_that_may_be_fragmented_is_for_the_smaller_path_only() {
    let mut bench = Bench::new(Layer::L2);
    bench.node.handle_path_mtu(B, 1000);
    let frame = Packet::udp4().tagged(&[]).payload(1200);
    bench.device_gso(&frame, Gso::None);
    let sent = bench.sent();
    assert_eq!(peers_of(&sent), [A, B, B, C]);
    let inner = inner(&sent);
    assert_eq!((&inner[0], &inner[3]), (&frame.bytes(), &frame.bytes()));
    assert_eq!(reassemble(&inner[1..3], Layer::L2), frame.bytes()[34..]);
}
