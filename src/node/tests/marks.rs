use super::*;

/// What the device gets of a packet with inner traffic class `tos`, received with `outer`.
fn delivered(layer: Layer, packet: &Packet, outer: u8) -> (Bench, Vec<Vec<u8>>) {
    let mut bench = Bench::new(layer);
    bench.receive_as(A, &datagram(VNI, packet), |received| received.tos = outer);
    let bytes = bench.written().into_iter().map(|one| one.bytes).collect();
    (bench, bytes)
}

#[test]
fn inner_congestion_marks_are_copied_to_the_outer_header() {
    for layer in [Layer::L2, Layer::L3] {
        for ecn in 0..4 {
            let mut bench = Bench::with(layer, |settings| settings.peers.truncate(1));
            bench.device(&on(layer, Packet::udp4().tos(0xb8 | ecn)));
            bench.device(&on(layer, Packet::udp6().tos(0xb8 | ecn)));
            assert!(bench.sent().iter().all(|one| one.tos == ecn));
        }
    }
}

#[test]
fn inner_dscp_is_copied_on_request() {
    let mut bench = Bench::with(Layer::L3, |settings| settings.copy_dscp = true);
    bench.device(&Packet::udp4().tos(0xba));
    assert_eq!(bench.sent()[0].tos, 0xba);
}

#[test]
fn frame_that_is_not_ip_has_no_marks() {
    let mut bench = Bench::with(Layer::L2, |settings| settings.copy_dscp = true);
    bench.device_bytes(&arp(MAC_HERE, IP_HERE, IP_A), VnetHeader::default());
    assert!(bench.sent().iter().all(|one| one.tos == 0));
    let request = arp(MAC_A, IP_A, IP_HERE);
    bench.receive_as(A, &framed(VNI, &request), |received| received.tos = 0x03);
    assert_eq!(bench.written()[0].bytes, request);
}

#[test]
fn outer_congestion_mark_goes_into_the_inner_header() {
    for (layer, packet) in [
        (Layer::L2, Packet::udp4().tagged(&[])),
        (Layer::L2, Packet::tcp6().tagged(&[7])),
        (Layer::L3, Packet::tcp4()),
        (Layer::L3, Packet::udp6()),
    ] {
        for inner in [0x29, 0x2a, 0x2b] {
            let packet = inward(packet.clone()).tos(inner);
            let (bench, bytes) = delivered(layer, &packet, 0xbb);
            assert_eq!(bytes, [packet.tos(0x2b).bytes()]);
            bench.assert_no_drops();
        }
    }
}

#[test]
fn outer_dscp_stays_outside() {
    let packet = inward(Packet::udp4()).tos(0x28);
    let (_, bytes) = delivered(Layer::L3, &packet, 0xb8);
    assert_eq!(bytes, [packet.bytes()]);
}

#[test]
fn congestion_that_the_inner_header_cannot_tell_is_a_drop() {
    for layer in [Layer::L2, Layer::L3] {
        let packet = on(layer, inward(Packet::tcp4())).tos(0x28);
        let (bench, bytes) = delivered(layer, &packet, 0x03);
        assert!(bytes.is_empty());
        bench.assert_drops(DropReason::EcnInvalid, Some(NET), Some(A), 1);
    }
}

#[test]
fn marks_are_set_before_packets_are_merged() {
    let segment = |i: u32| {
        let packet = inward(Packet::tcp4()).tos(0x02).seq(1 + i * 900).id(i as u16);
        datagram(VNI, &packet.payload(900))
    };
    let mut bench = Bench::new(Layer::L3);
    for (i, outer) in [(0, 0x02), (1, 0x02), (2, 0x03), (3, 0x03)] {
        bench.receive_as(A, &segment(i), |received| received.tos = outer);
    }
    let merged: Vec<_> = bench.written().iter().map(|one| (one.packets, one.bytes[1])).collect();
    assert_eq!(merged, [(2, 0x02), (2, 0x03)]);
}
