//! A hub and many peers.

use super::*;

/// More than what has its turn at once.
const PEERS: usize = 100;

/// The hub, and those that dial it, each over a wire of its own.
struct Crowd {
    now: Instant,
    hub: End,
    identity: Identity,
    known: Vec<Fingerprint>,
    peers: Vec<End>,
}

impl Crowd {
    /// Ends that have connections.
    fn connected() -> Self {
        let now = Instant::now();
        let identity = Identity::new("hub");
        let identities: Vec<_> = (0..PEERS).map(|_| Identity::new("peer")).collect();
        let known: Vec<_> = identities.iter().map(Identity::fingerprint).collect();
        let hub = hub(&identity, &known, now);
        let peer = |(index, own): (usize, &Identity)| {
            let (to, settings) = (Some(hub.address), Settings::default());
            End::new(own, identity.fingerprint(), address(index as u8 + 1), to, settings, now)
        };
        let peers: Vec<_> = identities.iter().enumerate().map(peer).collect();
        let mut crowd = Self { now, hub, identity, known, peers };
        crowd.run(Duration::from_secs(2));
        assert_eq!(crowd.up(), PEERS);
        crowd
    }

    /// Lets time go on, by what is sent and by ticks.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK / 10;
            for peer in &mut self.peers {
                peer.work(self.now);
                deliver(self.now, peer, &mut self.hub);
            }
            self.hub.work(self.now);
            self.answer();
        }
    }

    /// Delivers what the hub has to send; gives how many sends that were.
    fn answer(&mut self) -> usize {
        let mut count = 0;
        while let Some((to, datagrams)) = send(self.now, &mut self.hub) {
            let peer = self.peers.iter_mut().find(|peer| peer.address == to).expect("a peer's");
            peer.receive(self.now, &datagrams);
            count += 1;
        }
        count
    }

    fn up(&self) -> usize {
        self.peers.iter().filter(|peer| peer.is_up()).count()
    }
}

fn hub(identity: &Identity, known: &[Fingerprint], now: Instant) -> End {
    let mut hub = End::new(identity, known[0], address(0), None, Settings::default(), now);
    let id = |slot: usize| PeerId::new(slot, 0);
    let all = known.iter().enumerate().map(|(slot, print)| (id(slot), Known::Fingerprint(*print)));
    let trust = Trust::new(&[], &[], all).unwrap();
    hub.quic.set_tls(Tls::new(identity.credentials(), trust).unwrap(), now);
    for slot in 1..known.len() {
        hub.quic.add(PeerSpec { id: id(slot), endpoint: None }, now);
    }
    hub.next_tick = now;
    hub
}

/// Takes the next send of an end.
fn send(now: Instant, end: &mut End) -> Option<(SocketAddr, Datagrams)> {
    let out = end.quic.poll_transmit(now, &mut end.local);
    end.losses.append(&mut end.local.post.losses);
    let out = out?;
    let (bytes, stride) = (end.local.sealed.clone(), usize::from(out.datagram_len));
    Some((out.to, Datagrams { from: end.address, to: out.to, tos: out.tos, stride, bytes }))
}

fn deliver(now: Instant, from: &mut End, to: &mut End) {
    while let Some((_, datagrams)) = send(now, from) {
        to.receive(now, &datagrams);
    }
}

#[test]
fn all_are_told_that_an_end_stops() {
    let mut crowd = Crowd::connected();
    crowd.hub.quic.stop(crowd.now, &mut crowd.hub.local);
    let mut turns = 0;
    while crowd.hub.local.is_sending() {
        crowd.answer();
        turns += 1;
        assert!(turns <= PEERS, "it does not end");
    }
    assert!(turns > 1, "a turn has a limit");
    let now = crowd.now;
    for peer in &mut crowd.peers {
        peer.work(now);
        while send(now, peer).is_some() {}
    }
    assert_eq!(crowd.up(), 0);
}

#[test]
fn all_are_told_that_an_end_was_restarted() {
    let mut crowd = Crowd::connected();
    crowd.hub = hub(&crowd.identity, &crowd.known, crowd.now);
    let now = crowd.now;
    for peer in &mut crowd.peers {
        peer.queue(now, &[packet(0, 500)]);
        deliver(now, peer, &mut crowd.hub);
    }
    // All at one time, as a batch has it.
    assert_eq!(crowd.answer(), PEERS);
    assert_eq!(crowd.hub.lost(DropReason::QuicMalformed), 0);
    assert_eq!(crowd.hub.lost(DropReason::QuicUnknownConnection), PEERS as u64);
    for peer in &mut crowd.peers {
        while send(now, peer).is_some() {}
    }
    assert_eq!(crowd.up(), 0);
    crowd.run(Duration::from_secs(1));
    assert_eq!(crowd.up(), PEERS);
}

#[test]
fn all_are_judged_and_dialled_by_and_by() {
    let mut crowd = Crowd::connected();
    // None of them is taken any more.
    let nobody = Trust::new(&[], &[], []).unwrap();
    crowd.hub.quic.set_tls(Tls::new(crowd.identity.credentials(), nobody).unwrap(), crowd.now);
    crowd.hub.next_tick = crowd.now;
    let mut closed = [0; 2];
    for count in &mut closed {
        crowd.hub.work(crowd.now);
        let events = crowd.hub.local.post.events.drain(..);
        *count = events.filter(|event| matches!(event, Event::Refused { .. })).count();
        crowd.answer();
        crowd.now += TICK;
    }
    assert_eq!(closed, [64, PEERS - 64]);
    // A hub that knows where they are.
    crowd.hub = hub(&crowd.identity, &crowd.known, crowd.now);
    for (slot, peer) in crowd.peers.iter().enumerate() {
        crowd.hub.quic.set_endpoint(PeerId::new(slot, 0), peer.address, crowd.now);
    }
    for expected in [64, PEERS, PEERS] {
        crowd.hub.work(crowd.now);
        assert_eq!(crowd.hub.open(), expected);
        crowd.now += TICK;
    }
}
