use super::*;

#[test]
fn traffic_from_the_device_is_counted_by_segment_on_both_sides() {
    let mut bench = Bench::new(Layer::L3);
    bench.device(&Packet::udp4().payload(100));
    bench.device_gso(&Packet::tcp4().payload(3000), Gso::Tcp { size: 1000 });
    bench.discard();
    let expected = Traffic { packets: 4, bytes: 128 + 3040 };
    assert_eq!((bench.network().from_device, bench.peer(A).sent), (expected, expected));
    let none = Traffic::default();
    assert_eq!((bench.network().to_device, bench.peer(A).received), (none, none));
    assert_eq!(bench.peer(B).sent, none);
}

#[test]
fn traffic_to_the_device_is_counted_by_packet_on_both_sides() {
    let mut bench = Bench::new(Layer::L2);
    let frame = inward(Packet::tcp4().tagged(&[])).payload(500);
    let second = frame.clone().seq(0x1000_0000 + 500).id(0x1235);
    bench.receive_run(A, &[datagram(VNI, &frame), datagram(VNI, &second)]);
    assert_eq!(bench.written()[0].packets, 2);
    let expected = Traffic { packets: 2, bytes: 2 * 554 };
    assert_eq!((bench.network().to_device, bench.peer(A).received), (expected, expected));
    let none = Traffic::default();
    assert_eq!((bench.network().from_device, bench.peer(A).sent), (none, none));
}

#[test]
fn flood_counts_as_sent_to_every_peer_and_once_from_the_device() {
    let mut bench = Bench::new(Layer::L2);
    bench.device(&Packet::udp4().tagged(&[]).payload(100));
    bench.discard();
    let expected = Traffic { packets: 1, bytes: 142 };
    assert_eq!(bench.network().from_device, expected);
    assert!([A, B, C].iter().all(|peer| bench.peer(*peer).sent == expected));
}

#[test]
fn fragments_count_as_packets() {
    let mut bench = Bench::new(Layer::L3);
    bench.device(&Packet::udp4().payload(2000));
    assert_eq!(bench.sent().len(), 2);
    assert_eq!(bench.peer(A).sent, Traffic { packets: 2, bytes: 2028 });
}

#[test]
fn dropped_packet_is_not_counted_as_sent_or_delivered() {
    let mut bench = Bench::new(Layer::L3);
    bench.device(&Packet::udp4().dont_fragment().payload(2000));
    bench.receive(A, &inward(Packet::udp4()).src4(IP_B));
    bench.discard();
    let none = Traffic::default();
    assert_eq!((bench.peer(A).sent, bench.network().to_device), (none, none));
    assert_eq!(bench.network().from_device.packets, 1);
}

#[test]
fn relayed_packet_does_not_count_at_the_device() {
    let mut bench = Bench::relay(Layer::L3);
    bench.receive(A, &Packet::udp4().src4(IP_A).dst4(IP_C).payload(72));
    bench.discard();
    let expected = Traffic { packets: 1, bytes: 100 };
    assert_eq!((bench.peer(A).received, bench.peer(C).sent), (expected, expected));
    let none = Traffic::default();
    assert_eq!((bench.network().from_device, bench.network().to_device), (none, none));
}

#[test]
fn owner_of_the_node_counts_what_it_could_not_send() {
    let mut bench = Bench::new(Layer::L3);
    bench.node.count_drop(Some(OTHER), Some(B), DropReason::SendQueueFull, 7);
    bench.assert_drops(DropReason::SendQueueFull, Some(OTHER), Some(B), 7);
}

#[test]
fn places_have_the_names_of_their_peers() {
    let bench = Bench::new(Layer::L3);
    assert_eq!(bench.node.place_name(Place::Local), "local");
    assert_eq!(bench.node.place_name(Place::Peer(B)), "peer 1");
}
