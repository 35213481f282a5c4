//! Where peers are: what moves one, and what does not.

use std::thread;

use super::*;

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const ANOTHER_OF_OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));

/// Gives where the peer is, and the address that we send to it from.
fn place(end: &End) -> (Option<SocketAddr>, Option<IpAddr>) {
    let peer = end.engine.peer(PEER).unwrap();
    let state = peer.lock();
    (state.endpoint, state.local)
}

/// Two ends with a session, and the initiation that it began by.
fn pair_with_session() -> (End, End, Datagrams) {
    let (mut a, mut b) = pair();
    b.local = Some(OURS);
    a.start();
    let initiation = a.letters().remove(0);
    b.receive(&initiation);
    settle(&mut a, &mut b);
    b.post.events.clear();
    assert_eq!(place(&b), (Some(a.address), Some(OURS)));
    (a, b, initiation)
}

#[test]
fn initiation_that_proves_nothing_changes_nothing() {
    let (a, mut b, mut forged) = pair_with_session();
    // Up to the timestamp anybody can write it who knows both public keys.
    forged.bytes[100] ^= 1;
    let mac1 = gate::mac(&b.engine.identity().mac1_key, &[&forged.bytes[..116]]);
    forged.bytes[116..132].copy_from_slice(&mac1);
    forged.from = address(66);
    b.local = Some(ANOTHER_OF_OURS);
    b.receive(&forged);
    assert_eq!(b.losses(), [(DropReason::WireGuardHandshake, 1)]);
    assert_eq!(place(&b), (Some(a.address), Some(OURS)));
    assert_eq!((b.letters().len(), b.post.events.len()), (0, 0));
}

#[test]
fn initiation_that_comes_again_moves_nobody() {
    let (mut a, mut b, mut again) = pair_with_session();
    // Silence for some minutes: what is known of former initiations is forgotten.
    b.engine.peer(PEER).unwrap().lock().tunnel = None;
    again.from = address(66);
    b.local = Some(ANOTHER_OF_OURS);
    b.receive(&again);
    assert_eq!(b.post.letters.len(), 1);
    assert_eq!(b.post.letters[0].to, address(66));
    assert_eq!(b.post.letters[0].from, Some(ANOTHER_OF_OURS));
    assert_eq!(b.post.events, []);
    assert_eq!(place(&b), (Some(a.address), Some(OURS)));
    b.post.letters.clear();
    // The peer is answered where it asks from, and followed there when it uses the session.
    a.address = address(77);
    a.tick(Duration::from_secs(1));
    a.engine.initiate(PEER, a.now, &mut a.post);
    let initiation = a.letters().remove(0);
    b.receive(&initiation);
    assert_eq!(b.post.letters[0].to, address(77));
    settle(&mut a, &mut b);
    assert_eq!(place(&b), (Some(address(77)), Some(ANOTHER_OF_OURS)));
    let moved = Event::Moved { peer: PEER, to: address(77), local: Some(ANOTHER_OF_OURS) };
    assert!(b.post.events.contains(&moved), "{:?}", b.post.events);
}

#[test]
fn another_endpoint_is_sent_to_from_any_address_of_ours() {
    let (_, b, _) = pair_with_session();
    b.engine.set_endpoint(PEER, address(77));
    assert_eq!(place(&b), (Some(address(77)), None));
}

#[test]
fn peer_that_is_busy_keeps_nobody_from_the_others() {
    let (_, b, _) = pair_with_session();
    let peer = b.engine.peer(PEER).unwrap();
    let at_work = peer.lock();
    thread::scope(|scope| {
        let removal = scope.spawn(|| b.engine.remove(PEER, &mut Post::default()));
        let started = Instant::now();
        let mut is_found = true;
        while is_found && started.elapsed() < Duration::from_secs(10) {
            thread::yield_now();
            if let Ok(directory) = b.engine.directory.try_read() {
                is_found = directory.peer(PEER).is_some();
            }
        }
        drop(at_work);
        removal.join().unwrap();
        assert!(!is_found, "who removes a peer holds the directory while the peer is at work");
    });
}

#[test]
fn only_where_a_peer_is_needs_no_cookie() {
    let (mut a, mut b, _) = pair_with_session();
    let places = [a.address, address(77)];
    assert_eq!(places.map(|at| b.engine.is_endpoint(at)), [true, false]);
    a.address = address(77);
    let run = a.send(&[packet(100, 1)]).unwrap();
    b.receive(&run);
    assert_eq!(places.map(|at| b.engine.is_endpoint(at)), [false, true]);
    let peer = b.engine.peer(PEER).unwrap();
    b.engine.remove(PEER, &mut Post::default());
    // By who has found it before.
    b.engine.note_endpoint(&mut peer.lock());
    assert_eq!(places.map(|at| b.engine.is_endpoint(at)), [false, false]);
}
