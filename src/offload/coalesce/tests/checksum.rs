use super::*;

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
