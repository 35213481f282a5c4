//! Sessions: how they begin, what they carry, where they go.

use super::*;

#[test]
fn what_waits_for_a_session_arrives_in_its_order() {
    let (mut a, mut b) = pair();
    let packets: Vec<_> = (0..50).map(|n| packet(100 + n, n as u8)).collect();
    for packet in &packets {
        assert!(a.send(std::slice::from_ref(packet)).is_none());
    }
    let [_, arrived] = settle(&mut a, &mut b);
    assert_eq!(arrived, packets);
    assert!(a.is_established() && b.is_established());
    assert_eq!((a.losses(), b.losses()), (vec![], vec![]));
}

#[test]
fn a_run_is_sealed_and_opened_as_one() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    let mut packets: Vec<_> = (0..43).map(|n| packet(ROOM.into(), n)).collect();
    packets.push(packet(60, 99));
    let run = a.send(&packets).unwrap();
    assert_eq!(run.stride, usize::from(ROOM) + DATA_OVERHEAD);
    assert_eq!(run.bytes.len(), 43 * run.stride + 64 + DATA_OVERHEAD);
    assert_eq!(b.receive(&run), packets);
    // And back, to where the run came from.
    let answer = [packet(40, 7)];
    let run = b.send(&answer).unwrap();
    assert_eq!(a.receive(&run), answer);
}

#[test]
fn too_many_that_wait_push_out_the_oldest() {
    let (mut a, mut b) = pair();
    for n in 0..200 {
        a.send(&[packet(100, n)]);
    }
    assert_eq!(a.losses(), vec![(DropReason::WireGuardNoSession, 1); 72]);
    let [_, arrived] = settle(&mut a, &mut b);
    let marks: Vec<_> = arrived.iter().map(|packet| packet[99]).collect();
    assert_eq!(marks, (72..200).collect::<Vec<u8>>());
}

#[test]
fn what_waits_is_counted_when_the_peer_is_removed() {
    let (mut a, _) = pair();
    a.send(&[packet(100, 1), packet(100, 2)]);
    a.engine.remove(PEER, &mut a.post);
    assert_eq!(a.losses(), [(DropReason::WireGuardNoSession, 1); 2]);
}

#[test]
fn what_waits_asks_anew_when_we_become_somebody_else() {
    let (mut a, mut b) = pair();
    a.send(&[packet(100, 1)]);
    a.letters();
    a.engine.set_private(private(3), a.now, &mut a.post);
    b.engine.remove(PEER, &mut b.post);
    let key = private(3).public();
    let spec = PeerSpec { id: PEER, key, preshared: None, keepalive: None, endpoint: None };
    b.engine.add(spec, b.now);
    let [_, arrived] = settle(&mut a, &mut b);
    assert_eq!(arrived, [packet(100, 1)]);
}

#[test]
fn packet_to_a_peer_that_has_not_spoken_is_lost() {
    let (_, mut b) = pair();
    assert!(b.send(&[packet(100, 1), packet(100, 2)]).is_none());
    assert_eq!(b.losses(), [(DropReason::NoEndpoint, 2)]);
}

#[test]
fn peer_is_followed_to_where_it_sends_from() {
    let (mut a, mut b) = pair();
    a.start();
    settle(&mut a, &mut b);
    assert_eq!(b.engine.status(PEER).unwrap().endpoint, Some(a.address));
    b.post.events.clear();
    a.address = address(77);
    let run = a.send(&[packet(100, 1), packet(100, 2)]).unwrap();
    assert_eq!(b.receive(&run).len(), 2);
    let moved = Event::Moved { peer: PEER, to: address(77), local: None };
    assert_eq!(b.post.events, [moved]);
    assert_eq!(b.engine.status(PEER).unwrap().endpoint, Some(address(77)));
    // What is not authentic moves nobody.
    let mut forged = a.send(&[packet(100, 3)]).unwrap();
    *forged.bytes.last_mut().unwrap() ^= 1;
    forged.from = address(66);
    assert!(b.receive(&forged).is_empty());
    assert_eq!(b.losses(), [(DropReason::WireGuardAuthentication, 1)]);
    assert_eq!(b.engine.status(PEER).unwrap().endpoint, Some(address(77)));
}

#[test]
fn both_may_begin_at_once() {
    let mut a = End::new(1, 2, Some(address(2)), None);
    let mut b = End::new(2, 1, Some(address(1)), None);
    a.start();
    b.start();
    settle(&mut a, &mut b);
    for _ in 0..3 {
        let run = a.send(&[packet(100, 1)]).unwrap();
        assert_eq!(b.receive(&run), [packet(100, 1)]);
        let run = b.send(&[packet(100, 2)]).unwrap();
        assert_eq!(a.receive(&run), [packet(100, 2)]);
    }
}

#[test]
fn session_is_renewed_by_who_asked_for_it_and_nothing_is_lost() {
    let (mut a, mut b) = pair();
    let rekeyed = Identity::new(private(1), Duration::from_secs(2), Arc::default());
    *a.engine.identity.write().unwrap() = Arc::new(rekeyed);
    a.start();
    settle(&mut a, &mut b);
    let first = a.engine.status(PEER).unwrap().established;
    for round in 0..20 {
        a.tick(Duration::from_millis(250));
        b.tick(Duration::from_millis(250));
        let early = a.send(&[packet(100, round)]).unwrap();
        settle(&mut a, &mut b);
        let late = a.send(&[packet(100, round)]).unwrap();
        // Also what was sealed before is still opened, in whatever order.
        assert_eq!(b.receive(&late).len(), 1);
        assert_eq!(b.receive(&early).len(), 1);
    }
    let renewed = a.engine.status(PEER).unwrap().established;
    assert!(renewed.zip(first).is_some_and(|(renewed, first)| renewed > first));
    assert_eq!((a.losses(), b.losses()), (vec![], vec![]));
}

#[test]
fn silent_way_is_kept_open() {
    let (mut a, mut b) = pair();
    a.engine.set_keepalive(PEER, Some(Duration::from_secs(1)));
    a.tick(Duration::from_millis(100));
    settle(&mut a, &mut b);
    assert!(a.is_established());
    let sent = |end: &End| end.engine.status(PEER).unwrap().sent_bytes;
    let before = sent(&a);
    for _ in 0..20 {
        a.tick(Duration::from_millis(250));
        settle(&mut a, &mut b);
    }
    // 5 seconds, a keepalive of 32 bytes each; what is looked at every 200 ms is a little late.
    let keepalives = (sent(&a) - before) / 32;
    assert!((3..=5).contains(&keepalives), "{keepalives}");
    a.engine.set_keepalive(PEER, None);
    let before = sent(&a);
    a.tick(Duration::from_secs(3));
    assert_eq!(sent(&a), before);
}

#[test]
fn peer_is_silent_when_it_does_not_answer_and_not_when_nothing_is_said() {
    let (mut a, mut b) = pair();
    let unanswered = |end: &End| {
        let status = end.engine.status(PEER).unwrap();
        status.unanswered_since.map(|at| end.now - at)
    };
    assert_eq!(unanswered(&a), None);
    a.start();
    a.now += Duration::from_secs(1);
    assert_eq!(unanswered(&a), Some(Duration::from_secs(1)), "a handshake");
    settle(&mut a, &mut b);
    a.now += Duration::from_secs(60);
    assert_eq!(unanswered(&a), None, "nothing is said");
    for _ in 0..2 {
        a.send(&[packet(100, 1)]).unwrap();
        a.now += Duration::from_secs(10);
    }
    assert_eq!(unanswered(&a), Some(Duration::from_secs(20)), "packets");
    let answer = b.send(&[packet(100, 2)]).unwrap();
    a.receive(&answer);
    assert_eq!(unanswered(&a), None);
    a.send(&[packet(100, 3)]).unwrap();
    a.engine.set_endpoint(PEER, address(77));
    assert_eq!(unanswered(&a), None, "elsewhere it may answer");
}
