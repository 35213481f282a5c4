use super::*;

/// A GSO packet as a kernel peer on this machine sends it: uncut, with a partial checksum.
fn tcp_super(layer: Layer) -> Packet {
    pushed(&on(layer, inward(Packet::tcp4())), 5000)
}

/// What the network's MTU leaves for payload.
const SIZE: u16 = MTU - 40;

#[test]
fn tcp_gso_packet_of_a_kernel_peer_is_one_write() {
    for layer in [Layer::L2, Layer::L3] {
        let mut bench = Bench::new(layer);
        let packet = tcp_super(layer).partial();
        bench.receive(A, &packet);
        let written = bench.written();
        let vnet = VnetHeader::of(&packet.headers(), Gso::Tcp { size: SIZE });
        assert!(vnet.needs_checksum());
        assert_eq!(written, [Written { vnet, bytes: packet.bytes(), packets: 4, network: NET }]);
        assert_eq!((bench.peer(A).received.packets, bench.network().to_device.packets), (4, 4));
        bench.assert_no_drops();
    }
}

#[test]
fn gso_packet_is_written_in_segments_where_the_device_takes_none() {
    for layer in [Layer::L2, Layer::L3] {
        let mut bench = Bench::with(layer, |settings| {
            settings.networks[0].coalesce =
                Coalesce { tcp: false, udp: false, big_tcp: BigTcp::Never };
        });
        let before = inward(on(layer, Packet::udp4().payload(9)));
        bench.receive(A, &before);
        bench.receive(A, &tcp_super(layer).partial());
        let written = bench.written();
        assert!(written.iter().all(|one| one.vnet == VnetHeader::default() && one.packets == 1));
        let bytes: Vec<_> = written.into_iter().map(|one| one.bytes).collect();
        let segments = tcp_segments(&on(layer, inward(Packet::tcp4())), 5000, SIZE.into());
        assert_eq!(bytes, [vec![before.bytes()], segments].concat());
        bench.assert_no_drops();
    }
}

#[test]
fn udp_gso_packet_of_a_kernel_peer_is_one_write() {
    let mut bench = Bench::new(Layer::L2);
    let packet = inward(Packet::udp4()).tagged(&[]).payload(4500).partial();
    bench.receive_as(A, &datagram(VNI, &packet), |received| received.stride = Some(1000));
    let written = bench.written();
    let vnet = VnetHeader::of(&packet.headers(), Gso::Udp { size: 1000 });
    assert_eq!(written, [Written { vnet, bytes: packet.bytes(), packets: 5, network: NET }]);
}

#[test]
fn payload_of_a_gso_packet_is_never_read_as_a_header() {
    let hidden = datagram(OTHER_VNI, &inward(Packet::udp4()).tagged(&[]));
    let mut payload = vec![0; 1000 - 8 - 14 - 28];
    payload.extend(&hidden);
    payload.resize(3000, 0);
    let packet = inward(Packet::udp4()).tagged(&[]).payload_bytes(payload).partial();
    let mut bench = Bench::new(Layer::L2);
    bench.receive_as(A, &datagram(VNI, &packet), |received| received.stride = Some(1000));
    let written = bench.written();
    assert_eq!(written.len(), 1);
    assert_eq!((written[0].network, &written[0].bytes), (NET, &packet.bytes()));
}

#[test]
fn gso_packet_of_a_kernel_peer_is_relayed_as_right_segments() {
    for layer in [Layer::L2, Layer::L3] {
        let mut bench = Bench::relay(layer);
        if layer == Layer::L2 {
            bench.teach(B, MAC_B);
        }
        let to_b = |packet: Packet| packet.dst_mac(MAC_B).dst4(IP_B);
        bench.receive(A, &to_b(tcp_super(layer)).partial());
        let sent = bench.sent();
        assert!(sent.iter().all(|one| one.peer == B));
        let hops = if layer == Layer::L2 { 64 } else { 63 };
        let packet = to_b(on(layer, inward(Packet::tcp4()))).hop_limit(hops);
        assert_eq!(inner(&sent), tcp_segments(&packet, 5000, SIZE.into()));
        bench.assert_no_drops();
    }
}

#[test]
fn flooded_gso_packet_is_whole_for_the_device_and_cut_for_the_peers() {
    let mut bench = Bench::relay(Layer::L2);
    bench.receive(A, &tcp_super(Layer::L2).partial());
    let (sent, written) = bench.finish();
    assert_eq!(written[0].bytes, tcp_super(Layer::L2).partial().bytes());
    let segments = tcp_segments(&inward(Packet::tcp4()).tagged(&[]), 5000, SIZE.into());
    assert_eq!(inner(&sent), [&segments[..]; 2].concat());
}

#[test]
fn flooded_gso_packet_of_one_datagram_is_right_on_both_sides() {
    let mut bench = Bench::relay(Layer::L2);
    let packet = inward(Packet::udp4()).tagged(&[]).payload(1000);
    bench.receive_as(A, &datagram(VNI, &packet.clone().partial()), |received| {
        received.stride = Some(1000);
    });
    let (sent, written) = bench.finish();
    assert_eq!(inner(&sent), [packet.bytes(), packet.bytes()]);
    assert_eq!((&written[0].bytes, written[0].vnet), (&packet.bytes(), VnetHeader::default()));
}

#[test]
fn congestion_mark_goes_into_a_gso_packet() {
    let mut bench = Bench::new(Layer::L3);
    let packet = tcp_super(Layer::L3).partial();
    let bytes = datagram(VNI, &packet.clone().tos(0x02));
    bench.receive_as(A, &bytes, |received| received.tos = 0x03);
    assert_eq!(bench.written()[0].bytes, packet.tos(0x03).bytes());
}

#[test]
fn refused_gso_packet_counts_with_all_its_packets() {
    let mut bench = Bench::new(Layer::L3);
    bench.receive(A, &tcp_super(Layer::L3).src4(IP_B).partial());
    assert_eq!(bench.written(), []);
    bench.assert_drops(DropReason::SourceNotAllowed, Some(NET), Some(A), 4);
}
