use super::*;

/// A TAP network in which A may send only from some addresses.
fn filtered(ips: Option<&[&str]>, macs: Option<&[[u8; 6]]>) -> Bench {
    Bench::with(Layer::L2, |settings| {
        let peer = &mut settings.peers[0];
        peer.allowed_ips = ips.map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect());
        peer.allowed_macs = macs.map(|macs| macs.iter().map(|mac| Mac(*mac)).collect());
    })
}

const IPS: &[&str] = &["10.9.0.2/32", "fd00:9::2/128"];

#[track_caller]
fn assert_taken(mut bench: Bench, frame: &[u8]) {
    bench.receive_bytes(A, &framed(VNI, frame));
    assert_eq!(bench.written()[0].bytes, frame);
    bench.assert_no_drops();
}

#[track_caller]
fn assert_refused(mut bench: Bench, frame: &[u8], reason: DropReason) {
    bench.receive_bytes(A, &framed(VNI, frame));
    assert_eq!(bench.written(), []);
    bench.assert_drops(reason, Some(NET), Some(A), 1);
    assert_eq!(bench.network().forwarding.entries_len(), 0);
}

#[test]
fn peer_of_a_tap_network_sends_from_its_allowed_ips_only() {
    for frame in [Packet::udp4(), Packet::udp6(), Packet::tcp4()] {
        let frame = inward(frame).tagged(&[]);
        assert_taken(filtered(Some(IPS), None), &frame.bytes());
        let other = frame.src4(IP_B).src6("fd00:9::3");
        assert_refused(filtered(Some(IPS), None), &other.bytes(), DropReason::SourceNotAllowed);
        assert_taken(filtered(None, None), &other.bytes());
    }
}

#[test]
fn tags_do_not_hide_the_source() {
    for tags in [&[5][..], &[5, 6]] {
        let frame = inward(Packet::udp4()).src4(IP_B).tagged(tags);
        assert_refused(filtered(Some(IPS), None), &frame.bytes(), DropReason::SourceNotAllowed);
    }
}

#[test]
fn sender_of_an_arp_packet_is_a_source() {
    assert_taken(filtered(Some(IPS), None), &arp(MAC_A, IP_A, IP_HERE));
    let spoofed = arp(MAC_A, IP_B, IP_HERE);
    assert_refused(filtered(Some(IPS), None), &spoofed, DropReason::SourceNotAllowed);
}

#[test]
fn who_asks_whether_an_address_is_free_claims_none() {
    assert_taken(filtered(Some(IPS), None), &arp(MAC_A, [0; 4], IP_B));
    let probe = inward(Packet::icmp6(135)).src6("::").tagged(&[]);
    assert_taken(filtered(Some(IPS), None), &probe.bytes());
    let discover = inward(Packet::udp4()).src4([0; 4]).dst4([255; 4]).tagged(&[]);
    assert_taken(filtered(Some(IPS), None), &discover.bytes());
}

#[test]
fn allowed_ips_say_nothing_about_what_is_not_ip() {
    let mut frame = [MAC_HERE, MAC_A].concat();
    frame.extend([0x88, 0xcc, 1, 2, 3]);
    assert_taken(filtered(Some(IPS), None), &frame);
}

#[test]
fn peer_sends_from_its_allowed_macs_only() {
    let frame = |mac| inward(Packet::udp4()).tagged(&[]).src_mac(mac).bytes();
    let bench = || filtered(None, Some(&[MAC_A]));
    assert_taken(bench(), &frame(MAC_A));
    assert_refused(bench(), &frame(MAC_B), DropReason::SourceNotAllowed);
    assert_refused(bench(), &arp(MAC_B, IP_A, IP_HERE), DropReason::SourceNotAllowed);
    let frame = |mac: [u8; 6]| [&MAC_HERE[..], &mac, &[0x88, 0xcc, 1]].concat();
    assert_taken(bench(), &frame(MAC_A));
    assert_refused(bench(), &frame(MAC_B), DropReason::SourceNotAllowed);
}

#[test]
fn group_and_zero_are_no_sources() {
    for mac in [BROADCAST, [0; 6], [1, 0, 0x5e, 0, 0, 1]] {
        let frame = inward(Packet::udp4()).tagged(&[]).src_mac(mac);
        assert_refused(Bench::new(Layer::L2), &frame.bytes(), DropReason::SourceInvalid);
    }
    let mut bench = Bench::new(Layer::L3);
    bench.receive(A, &inward(Packet::udp4()).src4([224, 0, 0, 1]));
    bench.assert_drops(DropReason::SourceInvalid, Some(NET), Some(A), 1);
}

#[test]
fn peer_of_a_tun_network_sends_from_its_prefixes_only() {
    for source in [IP_A, [192, 168, 20, 77]] {
        let mut bench = Bench::new(Layer::L3);
        bench.receive(A, &inward(Packet::udp4()).src4(source));
        assert_eq!(bench.written().len(), 1);
    }
    for source in [IP_HERE, IP_B, [203, 0, 113, 1], [0; 4]] {
        let mut bench = Bench::new(Layer::L3);
        bench.receive(A, &inward(Packet::udp4()).src4(source));
        assert_eq!(bench.written(), []);
        bench.assert_drops(DropReason::SourceNotAllowed, Some(NET), Some(A), 1);
    }
}

#[test]
fn every_source_in_a_run_is_checked() {
    let frame = |packet: Packet| framed(VNI, &inward(packet).tagged(&[]).bytes());
    let good = frame(Packet::udp4());
    let padded = |bytes: Vec<u8>| {
        let mut datagram = framed(VNI, &bytes);
        datagram.resize(good.len(), 0);
        datagram
    };
    let others = [
        framed(VNI, &inward(Packet::udp4()).src4(IP_B).tagged(&[]).bytes()),
        framed(VNI, &inward(Packet::udp4()).tagged(&[]).src_mac(MAC_B).bytes()),
        padded(arp(MAC_A, IP_B, IP_HERE)),
    ];
    for other in others {
        let mut bench = filtered(Some(IPS), Some(&[MAC_A]));
        bench.receive_run(A, &[good.clone(), other, good.clone()]);
        assert_eq!(bench.written().iter().map(|one| one.packets).sum::<u32>(), 2);
        bench.assert_drops(DropReason::SourceNotAllowed, Some(NET), Some(A), 1);
    }
}

#[test]
fn every_arp_sender_in_a_run_is_checked() {
    let mut bench = filtered(Some(IPS), None);
    let good = framed(VNI, &arp(MAC_A, IP_A, IP_HERE));
    bench.receive_run(A, &[good.clone(), framed(VNI, &arp(MAC_A, IP_B, IP_HERE)), good]);
    assert_eq!(bench.written().len(), 2);
    bench.assert_drops(DropReason::SourceNotAllowed, Some(NET), Some(A), 1);
}

#[test]
fn every_source_in_a_run_of_packets_is_checked() {
    let mut bench = Bench::new(Layer::L3);
    let packet = |source| datagram(VNI, &inward(Packet::udp4()).src4(source));
    bench.receive_run(A, &[packet(IP_A), packet(IP_B), packet(IP_A)]);
    assert_eq!(bench.written().iter().map(|one| one.packets).sum::<u32>(), 2);
    bench.assert_drops(DropReason::SourceNotAllowed, Some(NET), Some(A), 1);
}

#[test]
fn every_source_in_a_run_is_learned_in_its_vlan() {
    let mut bench = Bench::new(Layer::L2);
    let frame = |mac, tags: &[u16]| {
        datagram(VNI, &inward(Packet::udp4()).src_mac(mac).tagged(tags).padding(4 - 4 * tags.len()))
    };
    bench.receive_run(A, &[frame(MAC_A, &[]), frame(MAC_B, &[]), frame(MAC_A, &[5])]);
    assert_eq!(bench.network().forwarding.entries_of(Place::Peer(A)), 3);
}

#[test]
fn full_table_refuses_the_newcomer() {
    let wide = Limits { network: 10, per_peer: 10, local: 10 };
    let peer = (Limits { per_peer: 1, ..wide }, DropReason::PeerTableFull);
    let network = (Limits { network: 1, ..wide }, DropReason::NetworkTableFull);
    for (limits, reason) in [peer, network] {
        let mut bench = Bench::with(Layer::L2, |settings| {
            settings.networks[0].rules.learning = Learning { limits, ..Learning::default() };
        });
        bench.teach(A, MAC_A);
        bench.receive(A, &inward(Packet::udp4()).tagged(&[]).src_mac(MAC_B));
        assert_eq!(bench.written(), []);
        bench.assert_drops(reason, Some(NET), Some(A), 1);
        bench.receive(A, &inward(Packet::udp4()).tagged(&[]));
        assert_eq!(bench.written().len(), 1);
    }
}

#[test]
fn full_share_of_the_device_refuses_the_newcomer() {
    let mut bench = Bench::with(Layer::L2, |settings| {
        settings.networks[0].rules.learning.limits.local = 1;
    });
    bench.device(&Packet::udp4().tagged(&[]));
    bench.discard();
    bench.device_gso(
        &Packet::tcp4().tagged(&[]).src_mac(MAC_B).payload(3000),
        Gso::Tcp { size: 1000 },
    );
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::LocalTableFull, Some(NET), None, 3);
}

#[test]
fn static_entry_cannot_be_taken_over() {
    let mut bench = Bench::with(Layer::L2, |settings| {
        settings.networks[0].static_entries = vec![(0, Mac(MAC_B), Place::Peer(B))];
    });
    bench.receive(A, &inward(Packet::udp4()).tagged(&[]).src_mac(MAC_B));
    assert_eq!(bench.written(), []);
    bench.assert_drops(DropReason::StaticSource, Some(NET), Some(A), 1);
    bench.device(&Packet::udp4().tagged(&[]).dst_mac(MAC_B));
    assert_eq!(peers_of(&bench.sent()), [B]);
}

#[test]
fn source_that_moves_too_often_is_held() {
    let mut bench = Bench::with(Layer::L2, |settings| {
        settings.networks[0].rules.learning.move_limit = 2;
    });
    for peer in [A, B, A] {
        bench.teach(peer, MAC_A);
    }
    bench.assert_no_drops();
    bench.receive(B, &inward(Packet::udp4()).tagged(&[]));
    bench.assert_drops(DropReason::MoveHeldDown, Some(NET), Some(B), 1);
}
