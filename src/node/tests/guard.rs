use super::*;

#[test]
fn packet_from_the_device_to_a_peers_endpoint_is_not_carried() {
    for (layer, port) in
        [(Layer::L2, 4789), (Layer::L2, 4790), (Layer::L3, 4789), (Layer::L3, 4790)]
    {
        let everything = |settings: &mut NodeSettings| {
            settings.peers.truncate(1);
            if layer == Layer::L3 {
                settings.peers[0].allowed_ips = Some(vec!["0.0.0.0/0".parse().unwrap()]);
            }
        };
        let packet = on(layer, Packet::udp4().dst4([192, 0, 2, 2]));
        let mut bench = Bench::with(layer, everything);
        bench.device(&packet.clone().ports(50_000, port));
        assert_eq!(bench.sent(), []);
        bench.assert_drops(DropReason::OwnEndpoint, Some(NET), None, 1);
        let mut bench = Bench::with(layer, everything);
        bench.device(&packet.clone().ports(port, 53));
        bench.device(&packet.dst4([192, 0, 2, 99]).ports(50_000, port));
        assert_eq!(bench.sent().len(), 2);
    }
}

#[test]
fn gso_packet_to_an_endpoint_counts_with_all_its_packets() {
    let mut bench = Bench::new(Layer::L2);
    let packet = Packet::udp4().tagged(&[]).dst4([192, 0, 2, 2]).ports(1, 4789).payload(3000);
    bench.device_gso(&packet, Gso::Udp { size: 1000 });
    assert_eq!(bench.sent(), []);
    bench.assert_drops(DropReason::OwnEndpoint, Some(NET), None, 3);
}

#[test]
fn packet_from_a_peer_to_an_exact_endpoint_of_ours_is_refused() {
    let mut bench = Bench::with(Layer::L2, |settings| {
        settings.own_endpoints = vec!["192.0.2.1:4789".parse().unwrap()];
    });
    let to = |port| inward(Packet::udp4()).tagged(&[]).dst4([192, 0, 2, 1]).ports(50_000, port);
    bench.receive(A, &to(4790));
    assert_eq!(bench.written().len(), 1);
    bench.receive(A, &to(4789));
    assert_eq!(bench.written(), []);
    bench.assert_drops(DropReason::OwnEndpoint, Some(NET), Some(A), 1);
}

#[test]
fn packet_from_a_peer_to_the_address_that_it_reached_us_by_is_refused() {
    for (local, ports) in [([192, 0, 2, 1], [4789, 4790]), ([198, 51, 100, 1], [4790, 4789])] {
        for port in ports {
            let mut bench = Bench::new(Layer::L2);
            let frame = inward(Packet::udp4()).tagged(&[]).ports(50_000, port);
            let receive = |bench: &mut Bench, dst| {
                bench.receive_as(A, &datagram(VNI, &frame.clone().dst4(dst)), |received| {
                    received.local = Some(IpAddr::from(local));
                });
            };
            receive(&mut bench, IP_HERE);
            assert_eq!(bench.written().len(), 1);
            receive(&mut bench, local);
            assert_eq!(bench.written(), []);
            bench.assert_drops(DropReason::OwnEndpoint, Some(NET), Some(A), 1);
        }
    }
}

#[test]
fn packet_from_a_peer_to_another_peers_endpoint_is_refused() {
    let mut bench = Bench::relay(Layer::L2);
    let frame = inward(Packet::udp4()).tagged(&[]).dst4([192, 0, 2, 3]).ports(50_000, 4789);
    bench.receive(A, &frame);
    assert_eq!(bench.finish(), (vec![], vec![]));
    bench.assert_drops(DropReason::OwnEndpoint, Some(NET), Some(A), 1);
}

#[test]
fn endpoint_that_a_peer_has_left_is_carried_to_again() {
    let [first, second] = [[192, 0, 2, 77], [192, 0, 2, 78]];
    let endpoint = |ip: [u8; 4]| SocketAddr::from((ip, 51_820));
    let mut bench = Bench::with(Layer::L2, |settings| {
        for (peer, endpoint) in settings.peers[1..3].iter_mut().zip([Some(endpoint(first)), None]) {
            peer.crossing = Crossing::WireGuard { endpoint, tunnel: None };
            peer.networks.clear();
        }
    });
    let refused = |bench: &mut Bench, ip| {
        let count = |bench: &Bench| bench.node.drops().of(DropReason::OwnEndpoint);
        let before = count(bench);
        bench.device(&Packet::udp4().tagged(&[]).dst4(ip).ports(50_000, 51_820));
        bench.discard();
        count(bench) > before
    };
    assert!(refused(&mut bench, first));
    // Two at one place, behind one address: it is an endpoint until both have left it.
    bench.node.handle_moved(C, endpoint(first), None);
    bench.node.handle_moved(B, endpoint(second), None);
    assert_eq!([first, second].map(|ip| refused(&mut bench, ip)), [true, true]);
    bench.node.handle_moved(C, endpoint(second), None);
    assert_eq!([first, second].map(|ip| refused(&mut bench, ip)), [false, true]);
    bench.node.remove_peer(B);
    assert!(refused(&mut bench, second));
    bench.node.remove_peer(C);
    assert!(!refused(&mut bench, second));
}

#[test]
fn refused_packet_teaches_nothing() {
    let mut bench = Bench::new(Layer::L2);
    bench.device(&Packet::udp4().tagged(&[]).dst4([192, 0, 2, 2]).ports(1, 4789));
    assert_eq!(bench.network().forwarding.entries_len(), 0);
}
