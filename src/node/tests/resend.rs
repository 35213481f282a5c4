use super::*;

impl Bench {
    /// Hands every datagram of the batch back, as if the kernel had refused all of it because the
    /// peer's path takes only `path_mtu`.
    fn refuse_all(&mut self, path_mtu: u16) -> (Vec<Sent>, Vec<Written>) {
        self.out.finish();
        let transmits = self.out.transmits.clone();
        let datagrams: Vec<Vec<Sent>> = transmits.iter().map(|run| self.datagrams(run)).collect();
        self.discard();
        let (mut sent, mut written) = (Vec::new(), Vec::new());
        for (transmit, datagrams) in transmits.iter().zip(datagrams) {
            self.node.handle_path_mtu(transmit.peer, path_mtu);
            for datagram in datagrams {
                let piece = self.store(&datagram.bytes);
                let (memory, out) = (&mut self.memory, &mut self.out);
                self.node.handle_unsent(self.now, transmit, piece, memory, out);
                let (again, answers) = self.finish();
                sent.extend(again);
                written.extend(answers);
            }
        }
        (sent, written)
    }
}

#[test]
fn refused_segments_are_cut_again() {
    for (layer, packet) in [
        (Layer::L2, Packet::tcp4().tagged(&[5])),
        (Layer::L3, Packet::tcp4().dont_fragment()),
        (Layer::L3, Packet::tcp6()),
    ] {
        let mut bench = Bench::with(layer, |settings| settings.peers.truncate(1));
        // The last segment fits as it is.
        bench.device_gso(&pushed(&packet, 4200), Gso::Tcp { size: 1300 });
        let (sent, written) = bench.refuse_all(1000);
        assert_eq!(written, []);
        let mut payload: Vec<u8> = Vec::new();
        let segments = inner(&sent);
        assert_eq!(segments.len(), 7);
        for (i, segment) in segments.iter().enumerate() {
            assert!(segment.len() <= 1000 - 36);
            let headers = parse_valid(segment, layer);
            let sequence = &segment[headers.l4_at() + 4..][..4];
            assert_eq!(sequence, (0x1000_0000 + payload.len() as u32).to_be_bytes());
            let L4::Tcp { flags, .. } = headers.l4 else { panic!("{headers:?}") };
            assert_eq!(flags & tcp::flag::PSH != 0, i + 1 == segments.len());
            payload.extend(&segment[headers.payload_start()..]);
        }
        assert_eq!(payload, payload_of(&packet, 4200));
        assert!(sent.iter().all(|one| one.bytes[..8] == datagram(VNI, &packet)[..8]));
        bench.assert_no_drops();
    }
}

#[test]
fn refused_datagram_is_answered() {
    for packet in [Packet::udp4().dont_fragment(), Packet::udp6()] {
        let mut bench = Bench::new(Layer::L3);
        bench.device(&packet.payload(1380));
        let (sent, written) = bench.refuse_all(1300);
        assert_eq!(sent, []);
        let headers = parse_valid(&written[0].bytes, Layer::L3);
        assert!(matches!(headers.l4, L4::Icmp4 { kind: 3 } | L4::Icmp6 { kind: 2 }));
        bench.assert_drops(DropReason::TooBig, Some(NET), Some(A), 1);
    }
}

#[test]
fn refused_segment_is_cut_whether_or_not_it_was_sent_in_a_run() {
    let mut bench = Bench::new(Layer::L3);
    bench.device(&Packet::tcp4().dont_fragment().payload(1380));
    let (sent, written) = bench.refuse_all(1300);
    assert_eq!(written, []);
    assert_eq!(sent.len(), 2);
    inner(&sent).iter().for_each(|segment| assert!(parse_valid(segment, Layer::L3).link.is_none()));
    bench.assert_no_drops();
}

#[test]
fn refused_datagram_that_may_be_fragmented_is() {
    let mut bench = Bench::new(Layer::L3);
    let packet = Packet::udp4().payload(1400);
    bench.device_gso(&packet, Gso::None);
    let (sent, written) = bench.refuse_all(1000);
    assert_eq!(written, []);
    assert_eq!(reassemble(&inner(&sent), Layer::L3), packet.bytes()[20..]);
    bench.assert_no_drops();
}

#[test]
fn refused_frame_of_a_relay_is_answered_to_the_peer_it_came_from() {
    for layer in [Layer::L2, Layer::L3] {
        let mut bench = Bench::relay(layer);
        let packet = on(layer, Packet::udp4().dont_fragment().payload(1400));
        let packet = packet.src4(IP_A).dst4(IP_B).src_mac(MAC_A).dst_mac(MAC_B);
        if layer == Layer::L2 {
            bench.teach(B, MAC_B);
        }
        bench.receive(A, &packet);
        let (sent, written) = bench.refuse_all(1000);
        assert_eq!(written, []);
        assert_eq!(peers_of(&sent), [A]);
        parse_valid(&inner(&sent)[0], layer);
        bench.assert_drops(DropReason::TooBig, Some(NET), Some(B), 1);
    }
}

#[test]
fn refused_packet_of_the_device_is_answered_there_whatever_the_routes_say() {
    for relay in [false, true] {
        for source in [IP_HERE, [172, 16, 0, 9]] {
            let mut bench = Bench::with(Layer::L3, |settings| {
                settings.networks[0].rules.relay = relay;
                settings.peers[0].allowed_ips = Some(vec!["0.0.0.0/0".parse().unwrap()]);
            });
            bench.device(&Packet::udp4().dont_fragment().src4(source).payload(1400));
            let (sent, written) = bench.refuse_all(1000);
            assert_eq!((sent.len(), written.len()), (0, 1));
        }
    }
}

#[test]
fn own_address_is_behind_the_device_whatever_the_routes_say() {
    let mut bench = Bench::with(Layer::L3, |settings| {
        settings.networks[0].rules.relay = true;
        settings.peers[0].allowed_ips = Some(vec!["0.0.0.0/0".parse().unwrap()]);
    });
    bench.device(&Packet::udp4().dont_fragment().dst4(IP_B).payload(1400));
    let (sent, written) = bench.refuse_all(1000);
    assert_eq!((sent.len(), written.len()), (0, 1));
}
