//! Where peers are: what moves one, and what does not.

use std::thread;

use super::*;

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

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
fn peer_that_is_busy_keeps_nobody_from_the_others() {
    let (_, b, _) = pair_with_session();
    let peer = b.engine.peer(PEER).unwrap();
    let at_work = peer.lock();
    thread::scope(|scope| {
        let removal = scope.spawn(|| b.engine.remove(PEER));
        let started = Instant::now();
        let mut is_found = true;
        while is_found && started.elapsed() < Duration::from_secs(10) {
            thread::yield_now();
            if let Ok(directory) = b.engine.directory.try_read() {
                is_found = directory.slots[PEER.slot()].is_some();
            }
        }
        drop(at_work);
        removal.join().unwrap();
        assert!(!is_found, "who removes a peer holds the directory while the peer is at work");
    });
}
