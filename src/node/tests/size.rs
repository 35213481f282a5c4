use super::*;

const MSS_9000: [u8; 4] = [2, 4, 0x23, 0x28];

fn syn(packet: Packet) -> Packet {
    packet.flags(tcp::flag::SYN).options(&MSS_9000)
}

fn with_mss(packet: Packet, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    packet.flags(tcp::flag::SYN).options(&[2, 4, high, low]).bytes()
}

/// What the ICMP answer says of the MTU.
fn mtu_of(answer: &[u8], layer: Layer) -> u16 {
    let headers = parse_valid(answer, layer);
    let icmp = &answer[headers.l4_at()..];
    match headers.l4 {
        L4::Icmp4 { kind: 3 } => assert_eq!(icmp[1], 4),
        L4::Icmp6 { kind: 2 } => assert_eq!((icmp[1], &icmp[4..6]), (0, &[0, 0][..])),
        other => panic!("{other:?}"),
    }
    u16::from_be_bytes([icmp[6], icmp[7]])
}

#[test]
fn offered_segment_size_is_lowered_to_the_network_both_ways() {
    for (layer, packet, headers) in [
        (Layer::L2, Packet::tcp4().tagged(&[]), 40),
        (Layer::L2, Packet::tcp6().tagged(&[7]), 60),
        (Layer::L3, Packet::tcp4(), 40),
        (Layer::L3, Packet::tcp6(), 60),
    ] {
        let mut bench = Bench::with(layer, |settings| settings.peers.truncate(1));
        // The path takes a frame of 1464 bytes: a tag has to fit, too.
        let mss = (MTU - headers).min(1464 - packet.headers().l3_start - headers);
        bench.device(&syn(packet.clone()));
        assert_eq!(inner(&bench.sent()), [with_mss(packet.clone(), mss)]);
        bench.receive(A, &syn(inward(packet.clone())));
        assert_eq!(bench.written()[0].bytes, with_mss(inward(packet), mss));
    }
}

#[test]
fn offered_segment_size_is_lowered_to_the_path_both_ways() {
    let mut bench = Bench::new(Layer::L3);
    bench.node.handle_path_mtu(A, 1000);
    bench.device(&syn(Packet::tcp4()));
    assert_eq!(inner(&bench.sent()), [with_mss(Packet::tcp4(), 1000 - 36 - 40)]);
    bench.receive(A, &syn(inward(Packet::tcp4())));
    assert_eq!(bench.written()[0].bytes, with_mss(inward(Packet::tcp4()), 1000 - 36 - 40));
}

#[test]
fn clamped_segment_with_a_partial_checksum_stays_right_both_ways() {
    let mut bench = Bench::new(Layer::L3);
    bench.device_gso(&syn(Packet::tcp4()), Gso::None);
    assert_eq!(inner(&bench.sent()), [with_mss(Packet::tcp4(), MTU - 40)]);
    bench.receive(A, &syn(inward(Packet::tcp4())).partial());
    let written = bench.written();
    let partial = inward(Packet::tcp4()).partial();
    assert_eq!(written[0].bytes, with_mss(partial.clone(), MTU - 40));
    assert!(written[0].vnet.needs_checksum());
    assert_eq!(bench.network().invalid_checksums, 0);
}

#[test]
fn segment_size_is_left_alone_where_the_clamp_is_off() {
    let mut bench = Bench::with(Layer::L3, |settings| settings.networks[0].mss_clamp = false);
    bench.device(&syn(Packet::tcp4()));
    assert_eq!(inner(&bench.sent()), [syn(Packet::tcp4()).bytes()]);
    bench.receive(A, &syn(inward(Packet::tcp4())));
    assert_eq!(bench.written()[0].bytes, syn(inward(Packet::tcp4())).bytes());
}

#[test]
fn packet_larger_than_the_network_is_answered_to_the_device() {
    for packet in [Packet::udp4().dont_fragment(), Packet::udp6(), Packet::tcp4().dont_fragment()] {
        let mut bench = Bench::new(Layer::L3);
        let large = packet.payload(1450);
        bench.device(&large);
        let (sent, written) = bench.finish();
        assert_eq!(sent, []);
        let [answer] = &written[..] else { panic!("{written:?}") };
        assert_eq!((answer.network, answer.vnet), (NET, VnetHeader::default()));
        assert_eq!(mtu_of(&answer.bytes, Layer::L3), MTU);
        let (headers, was) = (parse_valid(&answer.bytes, Layer::L3), large.headers());
        assert_eq!(headers.source_ip(), was.destination_ip());
        assert_eq!(headers.destination_ip(), was.source_ip());
        bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 1);
    }
}

#[test]
fn largest_packet_passes() {
    for (layer, len) in [(Layer::L2, 1450 - 28), (Layer::L3, 1450 - 28)] {
        let mut bench = Bench::with(layer, |settings| settings.peers.truncate(1));
        bench.device(&on(layer, Packet::udp4().dont_fragment().payload(len)));
        assert_eq!(bench.sent().len(), 1);
        bench.device(&on(layer, Packet::udp4().dont_fragment().payload(len + 1)));
        assert_eq!(bench.finish().0, []);
        bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 1);
    }
}

#[test]
fn frame_larger_than_the_path_is_answered_with_its_tags() {
    for tags in [&[][..], &[100], &[100, 7]] {
        let mut bench = Bench::new(Layer::L2);
        let frame = Packet::udp4().tagged(tags).dont_fragment().payload(1400);
        bench.receive(A, &inward(Packet::udp4().tagged(tags)));
        bench.discard();
        bench.node.handle_path_mtu(A, 1400);
        bench.device(&frame);
        let written = bench.written();
        let answer = &written[0].bytes;
        let link_len = 14 + 4 * tags.len();
        assert_eq!(usize::from(mtu_of(answer, Layer::L2)), 1400 - 36 - link_len);
        assert_eq!(answer[..12], [MAC_HERE, MAC_A].concat());
        assert_eq!(answer[12..link_len], frame.bytes()[12..link_len]);
        bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 1);
    }
}

#[test]
fn group_is_never_answered() {
    let mut bench = Bench::with(Layer::L2, |settings| settings.peers.truncate(1));
    bench.device(&Packet::udp4().tagged(&[]).dont_fragment().dst_mac(BROADCAST).payload(1500));
    assert_eq!(bench.finish(), (vec![], vec![]));
    bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 1);
    let mut bench = Bench::with(Layer::L3, |settings| settings.peers.truncate(1));
    bench.device(&Packet::udp4().dont_fragment().dst4([224, 1, 1, 1]).payload(1500));
    assert_eq!(bench.finish(), (vec![], vec![]));
    bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 1);
}

#[test]
fn answers_are_limited_and_drops_are_not() {
    let mut bench = Bench::new(Layer::L3);
    let answers = |bench: &mut Bench| {
        (0..150)
            .map(|_| {
                bench.device(&Packet::udp4().dont_fragment().payload(2000));
                bench.written().len()
            })
            .sum::<usize>()
    };
    assert_eq!(answers(&mut bench), 100);
    bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 150);
    bench.now += Duration::from_millis(50);
    assert_eq!(answers(&mut bench), 50);
}

#[test]
fn what_is_never_answered_takes_no_answer_from_others() {
    let mut bench = Bench::new(Layer::L2);
    for _ in 0..200 {
        bench.device(&Packet::udp4().tagged(&[]).dont_fragment().dst_mac(BROADCAST).payload(1500));
        bench.discard();
    }
    let known = Packet::udp4().tagged(&[]).dont_fragment().dst_mac(MAC_A).payload(1500);
    bench.teach(A, MAC_A);
    bench.discard();
    bench.device(&known);
    assert!(!bench.written().is_empty());
}

#[test]
fn packet_that_may_be_fragmented_is() {
    for (layer, link_len) in [(Layer::L2, 14), (Layer::L3, 0)] {
        let packet = on(layer, Packet::udp4().payload(4000));
        for is_partial in [false, true] {
            let mut bench = Bench::with(layer, |settings| settings.peers.truncate(1));
            match is_partial {
                true => bench.device_gso(&packet, Gso::None),
                false => bench.device(&packet),
            }
            let sent = bench.sent();
            let fragments = inner(&sent);
            assert_eq!(fragments.len(), 3);
            assert!(fragments.iter().all(|one| one.len() <= link_len + usize::from(MTU)));
            assert_eq!(reassemble(&fragments, layer), packet.bytes()[link_len + 20..]);
            assert!(sent.iter().all(|one| one.bytes[..8] == datagram(VNI, &packet)[..8]));
            bench.assert_no_drops();
        }
    }
}

#[test]
fn tcp_gso_packet_is_cut_smaller_for_a_smaller_path() {
    for (packet, headers) in [(Packet::tcp4().dont_fragment(), 40), (Packet::tcp6(), 60)] {
        let mut bench = Bench::new(Layer::L3);
        bench.node.handle_path_mtu(A, 1000);
        bench.device_gso(&pushed(&packet, 5000), Gso::Tcp { size: 1390 });
        assert_eq!(inner(&bench.sent()), tcp_segments(&packet, 5000, 1000 - 36 - headers));
        bench.assert_no_drops();
    }
}

#[test]
fn udp_gso_packet_that_is_too_large_is_answered_once() {
    let mut bench = Bench::new(Layer::L3);
    bench.node.handle_path_mtu(A, 1000);
    bench.device_gso(&Packet::udp4().dont_fragment().payload(3000), Gso::Udp { size: 1000 });
    let written = bench.written();
    assert_eq!(written.len(), 1);
    assert_eq!(mtu_of(&written[0].bytes, Layer::L3), 964);
    bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 3);
}

#[test]
fn path_is_never_believed_to_be_smaller_than_ip_allows() {
    let mut bench = Bench::new(Layer::L3);
    bench.node.handle_path_mtu(A, 0);
    assert_eq!(bench.peer(A).path_mtu, Some(576));
    bench.node.handle_path_mtu(PeerId::new(99, 0), 0);
    bench.device(&Packet::udp4().dont_fragment().payload(576 - 36 - 28));
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn path_that_nothing_is_known_of_takes_no_more_than_an_ip_packet() {
    let mut bench = Bench::with(Layer::L2, |settings| {
        settings.networks[0].mtu = 65_485;
        settings.peers.truncate(1);
        settings.peers[0].path_mtu = None;
    });
    let frame = Packet::udp4().tagged(&[1, 2, 3, 4, 5, 6, 7, 8]).dont_fragment();
    bench.device(&frame.clone().payload(65_485 - 28));
    assert_eq!(bench.finish().0, []);
    bench.device(&frame.payload(65_535 - 36 - 46 - 28));
    let sent = bench.sent();
    assert_eq!(sent[0].bytes.len(), 65_507);
    bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 1);
}

#[test]
fn packet_that_fits_is_not_answered_for_what_stands_behind_it() {
    let mut bench = Bench::new(Layer::L2);
    bench.teach(A, MAC_A);
    let frame = Packet::udp4().dont_fragment().tagged(&[]).payload(1).padding(1700);
    bench.device(&frame.dst_mac(MAC_A));
    assert_eq!(bench.finish(), (vec![], vec![]));
    assert_eq!(bench.node.drops().of(DropReason::TooBig), 1);
}
