use std::time::Duration;

use super::*;

/// A packet that was damaged on the way, and whose checksum looks as if it was left to be
/// finished: that is one in 65 536 of the damaged.
fn damaged(packet: &Packet) -> Packet {
    packet.clone().payload(900).partial()
}

/// Lets a peer send packets with finished checksums, in one run and one by one.
fn send_finished(bench: &mut Bench, packet: &Packet) {
    let one = |i: u32| packet.clone().seq(1 + i * 1000).id(i as u16).payload(1000);
    for i in 0..20 {
        bench.receive(A, &one(i).payload(10));
    }
    let run: Vec<_> = (20..80).map(|i| datagram(VNI, &one(i))).collect();
    bench.receive_run(A, &run);
    bench.discard();
}

#[test]
fn damaged_packet_is_not_made_right_because_it_looks_unfinished() {
    for is_merged in [true, false] {
        for layer in [Layer::L2, Layer::L3] {
            let mut bench = Bench::with(layer, |settings| {
                settings.networks[0].coalesce.tcp &= is_merged;
            });
            let packet = on(layer, inward(Packet::tcp4()));
            send_finished(&mut bench, &packet);
            let damaged = damaged(&packet);
            bench.receive(A, &damaged);
            let written = bench.written();
            assert_eq!(written[0].bytes, damaged.bytes());
            assert_eq!(written[0].vnet, VnetHeader::default());
            assert_eq!(bench.network().invalid_checksums, 1);
        }
    }
}

#[test]
fn damaged_packet_is_relayed_as_it_came() {
    let mut bench = Bench::relay(Layer::L3);
    let packet = inward(Packet::tcp4()).dst4(IP_B);
    send_finished(&mut bench, &packet);
    bench.receive(A, &damaged(&packet));
    let expected = damaged(&packet).hop_limit(63).bytes();
    assert_eq!(inner(&bench.sent()), [expected]);
}

#[test]
fn kernel_peer_that_forwards_finished_ones_loses_one_packet_a_minute_at_most() {
    let mut bench = Bench::new(Layer::L3);
    let packet = inward(Packet::tcp4());
    let is_marked = |bench: &mut Bench| {
        send_finished(bench, &packet);
        bench.receive(A, &damaged(&packet));
        bench.written()[0].vnet.needs_checksum()
    };
    assert!(!is_marked(&mut bench));
    for _ in 0..3 {
        bench.now += Duration::from_secs(59);
        assert!(is_marked(&mut bench));
    }
    bench.now += Duration::from_secs(60);
    assert!(!is_marked(&mut bench));
    assert!(is_marked(&mut bench));
}
