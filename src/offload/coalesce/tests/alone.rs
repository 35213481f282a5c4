use super::*;
use crate::offload::captures;

#[test]
fn single_packets_are_written_as_they_came() {
    for kind in kinds() {
        let packet = kind.payload(700);
        assert_eq!(coalesce(std::slice::from_ref(&packet)), [as_it_came(&packet)]);
    }
}

#[test]
fn padded_frames_are_written_with_their_padding() {
    let packet = Packet::udp4().dont_fragment().tagged(&[]).payload(4).padding(14);
    assert_apart(packet.clone(), packet.clone());
    let whole = Packet::udp4().dont_fragment().tagged(&[]).payload(4);
    assert_apart(whole.clone(), packet.clone());
    assert_apart(packet, whole);
}

#[test]
fn frames_that_are_not_ip_are_written_as_they_came() {
    let mut bench = Bench::new(BOTH);
    let mut frame = vec![7; 60];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    assert_eq!(bench.push_bytes(&frame, Layer::L2), Check::Absent);
    let expected = Written { vnet: VnetHeader::default(), bytes: frame, packets: 1 };
    assert_eq!(bench.finish(), [expected]);
}

#[test]
fn empty_payloads_are_written_alone() {
    assert_apart(Packet::udp6(), Packet::udp6());
    assert_apart(Packet::tcp6(), Packet::tcp6());
}

#[test]
fn protocols_that_are_switched_off_are_not_merged_or_looked_at() {
    let packets = [stream(&Packet::tcp4(), 3, 100), stream(&Packet::udp4(), 3, 100)].concat();
    let count = |tcp, udp| {
        let mut bench = Bench::new(Coalesce { tcp, udp, big_tcp: BigTcp::Never });
        let checks: Vec<Check> = packets.iter().map(|packet| bench.push(packet)).collect();
        assert_eq!((checks[0] == Check::Valid, checks[3] == Check::Valid), (tcp, udp));
        counts(&bench.finish())
    };
    assert_eq!(count(true, true), [3, 3]);
    assert_eq!(count(true, false), [3, 1, 1, 1]);
    assert_eq!(count(false, true), [1, 1, 1, 3]);
    assert_eq!(count(false, false), [1; 6]);
}

#[test]
fn packet_that_also_goes_elsewhere_is_not_merged_or_changed() {
    let mut bench = Bench::new(BOTH);
    let packets = stream(&Packet::tcp4(), 4, 1000);
    for (i, packet) in packets.iter().enumerate() {
        if i == 0 {
            bench.push(packet);
            continue;
        }
        let piece = bench.store(&packet.bytes());
        bench.coalescer.push_alone(piece, &packet.headers(), Check::Valid);
    }
    assert_eq!(bench.finish(), packets.iter().map(as_it_came).collect::<Vec<_>>());
}

#[test]
fn captured_super_packet_is_one_write_that_ends_its_flow() {
    for (capture, gso, count) in [
        (captures::TCP4_SUPER, Gso::Tcp { size: 1398 }, 5),
        (captures::UDP6_SUPER, Gso::Udp { size: 1000 }, 5),
    ] {
        let mut bench = Bench::new(BOTH);
        let bytes = capture.inner();
        let piece = bench.store(&bytes);
        let headers = Headers::parse(&bytes, capture.layer).unwrap();
        bench.coalescer.push_super(&mut bench.memory, piece, &headers, capture.layer, gso);
        let writes = bench.finish();
        assert_eq!(
            writes,
            [Written { vnet: VnetHeader::of(&headers, gso), bytes, packets: count }]
        );
        assert_eq!(writes[0].vnet.gso_of(&headers), Ok(gso));
    }
}
