use super::*;

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
