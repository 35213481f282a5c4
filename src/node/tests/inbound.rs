use super::*;

/// A datagram from A to our device, by layer.
fn plain(layer: Layer) -> Vec<u8> {
    datagram(VNI, &on(layer, inward(Packet::udp4().payload(100))))
}

const LAYERS: [Layer; 2] = [Layer::L2, Layer::L3];

#[test]
fn inner_packet_is_written_as_it_came() {
    for layer in LAYERS {
        let mut bench = Bench::new(layer);
        bench.receive_bytes(A, &plain(layer));
        let written = bench.written();
        let bytes = plain(layer)[8..].to_vec();
        let vnet = VnetHeader::default();
        assert_eq!(written, [Written { vnet, bytes, packets: 1, network: NET }]);
        bench.assert_no_drops();
    }
}

#[test]
fn each_vni_leads_to_its_network() {
    let mut bench = Bench::new(Layer::L2);
    bench.receive_bytes(A, &datagram(OTHER_VNI, &inward(Packet::udp4().tagged(&[]))));
    assert_eq!(bench.written()[0].network, OTHER);
}

#[test]
fn datagram_from_an_unknown_address_is_dropped() {
    for layer in LAYERS {
        let mut bench = Bench::new(layer);
        bench.receive_as(A, &plain(layer), |received| {
            received.from = "192.0.2.99:4789".parse().unwrap();
        });
        assert_eq!(bench.written(), []);
        bench.assert_drops(DropReason::UnknownPeer, None, None, 1);
    }
}

#[test]
fn peer_is_known_by_its_address_whatever_its_port_and_form() {
    for from in ["192.0.2.2:1", "[::ffff:192.0.2.2]:65535"] {
        let mut bench = Bench::new(Layer::L2);
        bench.receive_as(A, &plain(Layer::L2), |received| received.from = from.parse().unwrap());
        assert_eq!(bench.written().len(), 1);
    }
}

#[test]
fn dropped_run_counts_all_its_datagrams() {
    let mut bench = Bench::new(Layer::L2);
    bench.receive_as(A, &[0; 250], |received| {
        received.from = "192.0.2.99:4789".parse().unwrap();
        received.stride = Some(100);
    });
    bench.assert_drops(DropReason::UnknownPeer, None, None, 3);
}

#[test]
fn truncated_datagram_is_dropped() {
    let mut bench = Bench::new(Layer::L2);
    bench.receive_as(A, &plain(Layer::L2), |received| received.truncated = true);
    assert_eq!(bench.written(), []);
    bench.assert_drops(DropReason::DatagramTruncated, None, None, 1);
}

#[test]
fn datagram_shorter_than_its_header_is_dropped_at_every_length() {
    for layer in LAYERS {
        for len in 0..vxlan::HEADER_LEN {
            let mut bench = Bench::new(layer);
            bench.receive_bytes(A, &plain(layer)[..len]);
            assert_eq!(bench.written(), []);
            bench.assert_drops(DropReason::VxlanTooShort, None, Some(A), 1);
        }
    }
}

#[test]
fn truncated_inner_packet_is_malformed_at_every_length() {
    for layer in LAYERS {
        let whole = datagram(VNI, &on(layer, inward(Packet::tcp4())));
        for len in vxlan::HEADER_LEN..whole.len() {
            let mut bench = Bench::new(layer);
            bench.receive_bytes(A, &whole[..len]);
            assert_eq!(bench.written(), []);
            bench.assert_drops(DropReason::Malformed, Some(NET), Some(A), 1);
        }
    }
}

#[test]
fn flags_of_another_format_are_refused() {
    for layer in LAYERS {
        for flags in [0x00, 0x0c, 0x08, 0x88] {
            let mut datagram = plain(layer);
            if datagram[0] == flags {
                continue;
            }
            datagram[0] = flags;
            let mut bench = Bench::new(layer);
            bench.receive_bytes(A, &datagram);
            assert_eq!(bench.written(), []);
            bench.assert_drops(DropReason::VxlanFlags, None, Some(A), 1);
        }
    }
}

#[test]
fn vni_of_no_network_is_refused() {
    let mut bench = Bench::new(Layer::L2);
    bench.receive_bytes(A, &datagram(99, &inward(Packet::udp4().tagged(&[]))));
    assert_eq!(bench.written(), []);
    bench.assert_drops(DropReason::UnknownVni, None, Some(A), 1);
}

#[test]
fn vni_belongs_to_one_port() {
    let mut bench = Bench::new(Layer::L2);
    let packet = datagram(VNI, &inward(Packet::udp4()));
    bench.receive_as(A, &packet, |received| received.carrier = Carrier::VxlanGpe);
    assert_eq!(bench.written(), []);
    bench.assert_drops(DropReason::UnknownVni, None, Some(A), 1);
}

#[test]
fn peer_speaks_only_in_its_networks() {
    let mut bench = Bench::new(Layer::L2);
    bench.receive_bytes(C, &datagram(OTHER_VNI, &inward(Packet::udp4().tagged(&[]))));
    assert_eq!(bench.written(), []);
    bench.assert_drops(DropReason::PeerNotInNetwork, Some(OTHER), Some(C), 1);
}

#[test]
fn next_protocol_must_be_the_ip_version() {
    for (packet, next) in
        [(Packet::udp4(), 2), (Packet::udp6(), 1), (Packet::udp4(), 0), (Packet::udp4(), 3)]
    {
        let mut datagram = datagram(VNI, &inward(packet));
        datagram[3] = next;
        let mut bench = Bench::new(Layer::L3);
        bench.receive_bytes(A, &datagram);
        assert_eq!(bench.written(), []);
        let reason = DropReason::VxlanNextProtocol;
        let network = (1..=2).contains(&next).then_some(NET);
        bench.assert_drops(reason, network, Some(A), 1);
    }
}

#[test]
fn run_is_cut_by_its_stride_and_merged_for_the_device() {
    for layer in LAYERS {
        let segment = |i: u32| {
            let packet = inward(Packet::tcp4()).seq(1 + i * 1000).id(i as u16);
            let len = if i == 3 { 500 } else { 1000 };
            datagram(VNI, &on(layer, packet.payload(len)))
        };
        let mut bench = Bench::new(layer);
        bench.receive_run(A, &(0..4).map(segment).collect::<Vec<_>>());
        let written = bench.written();
        assert_eq!(written.len(), 1);
        assert_eq!(written[0].packets, 4);
        let headers = Headers::parse(&written[0].bytes, layer).unwrap();
        assert_eq!(written[0].vnet, VnetHeader::of(&headers, Gso::Tcp { size: 1000 }));
        let check = checksum::verify_transport(&written[0].bytes, &headers);
        assert_eq!(check, Check::Partial);
        assert_eq!(headers.end_at() - headers.payload_start(), 3500);
        bench.assert_no_drops();
    }
}

#[test]
fn datagrams_of_one_batch_are_merged_across_receive_calls() {
    let mut bench = Bench::new(Layer::L3);
    for i in 0..3 {
        bench.receive(A, &inward(Packet::tcp4()).seq(1 + i * 900).id(i as u16).payload(900));
    }
    assert_eq!(bench.written()[0].packets, 3);
}

#[test]
fn nothing_is_merged_after_the_device_refused_it() {
    let mut bench = Bench::new(Layer::L3);
    bench.node.stop_coalescing(NET);
    for i in 0..3 {
        bench.receive(A, &inward(Packet::tcp4()).seq(1 + i * 900).id(i as u16).payload(900));
    }
    assert_eq!(bench.written().len(), 3);
    assert!(!bench.network().is_coalescing);
}

#[test]
fn short_rest_of_a_run_is_counted_alone() {
    let mut bench = Bench::new(Layer::L2);
    bench.receive_run(A, &[plain(Layer::L2), plain(Layer::L2), vec![8, 0, 0]]);
    assert_eq!(bench.written().iter().map(|one| one.packets).sum::<u32>(), 2);
    bench.assert_drops(DropReason::VxlanTooShort, Some(NET), Some(A), 1);
}

#[test]
fn run_of_two_networks_is_refused_but_for_the_first() {
    let mut bench = Bench::new(Layer::L2);
    let frame = inward(Packet::udp4().tagged(&[]));
    bench.receive_run(A, &[datagram(VNI, &frame), datagram(OTHER_VNI, &frame)]);
    let written = bench.written();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].network, NET);
    bench.assert_drops(DropReason::VxlanMixed, Some(NET), Some(A), 1);
}

#[test]
fn run_of_both_ip_versions_is_taken() {
    let mut bench = Bench::new(Layer::L3);
    let four = datagram(VNI, &inward(Packet::udp4().payload(120)));
    let six = datagram(VNI, &inward(Packet::udp6().payload(100)));
    bench.receive_run(A, &[four.clone(), six.clone()]);
    let bytes: Vec<_> = bench.written().into_iter().map(|one| one.bytes).collect();
    assert_eq!(bytes, [&four[8..], &six[8..]]);
}

#[test]
fn wrong_inner_checksum_is_delivered_untouched_and_counted() {
    let mut bench = Bench::new(Layer::L3);
    let packets = [0, 1].map(|i| {
        let packet = inward(Packet::tcp4()).seq(1 + i * 900).id(i as u16).payload(900);
        packet.wrong_checksum()
    });
    packets.iter().for_each(|packet| bench.receive(A, packet));
    let bytes: Vec<_> = bench.written().into_iter().map(|one| (one.vnet, one.bytes)).collect();
    assert_eq!(bytes, packets.map(|packet| (VnetHeader::default(), packet.bytes())));
    assert_eq!(bench.network().invalid_checksums, 2);
    bench.assert_no_drops();
}

#[test]
fn partial_checksum_is_left_to_the_kernel() {
    let mut bench = Bench::new(Layer::L3);
    let packet = inward(Packet::tcp4()).payload(900).partial();
    bench.receive(A, &packet);
    let written = bench.written();
    assert_eq!(written[0].bytes, packet.bytes());
    assert_eq!(written[0].vnet, VnetHeader::of(&packet.headers(), Gso::None));
    assert_eq!(bench.network().invalid_checksums, 0);
}

#[test]
fn only_what_is_valid_says_that_the_peer_is_there_and_where_it_sends_to() {
    let spoofed = Some(IpAddr::from([198, 51, 100, 66]));
    let mut wrong = vec![
        datagram(99, &inward(Packet::udp4())),
        datagram(VNI, &inward(Packet::udp4()))[..20].to_vec(),
        datagram(VNI, &inward(Packet::udp4()).src4(IP_B)),
    ];
    wrong.push(wrong[0][..5].to_vec());
    let mut bench = Bench::new(Layer::L3);
    for datagram in &wrong {
        bench.receive_as(A, datagram, |received| received.local = spoofed);
        assert_eq!((bench.peer(A).last_received, bench.peer(A).local), (None, None));
    }
    bench.receive(A, &inward(Packet::udp4()));
    assert_eq!(bench.peer(A).last_received, Some(bench.now));
    assert_eq!(bench.peer(A).local, Some(OUR_UNDERLAY));
    assert_eq!(bench.peer(B).last_received, None);
}
