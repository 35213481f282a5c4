//! Engines with a wire between them that the test makes as bad as it likes, in virtual time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};

use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::peer::{NetworkId, PeerId};
use crate::transport::opened::Loss;
use crate::transport::quic::{
    Congestion, Credentials, Event, Fingerprint, Known, Local, PeerSpec, Quic, Settings, Tls, Trust,
};
use crate::transport::{Carrier, Received, Transmit};

mod crowd;
mod life;
mod paths;

/// The only peer of each end.
const PEER: PeerId = PeerId::new(0, 0);
/// How often the first worker of a daemon calls [`Quic::tick`].
const TICK: Duration = Duration::from_millis(100);
/// The way from one end to the other.
const DELAY: Duration = Duration::from_millis(5);

/// A certificate and its key, both PEM.
#[derive(Clone)]
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn credentials(&self) -> Credentials {
        Credentials::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.credentials().fingerprint()
    }

    /// Our end of handshakes with a peer that is known by its fingerprint.
    fn tls(&self, peer: Fingerprint) -> Tls {
        let trust = Trust::new(&[], &[], [(PEER, Known::Fingerprint(peer))]).unwrap();
        Tls::new(self.credentials(), trust).unwrap()
    }
}

/// One end: an engine and what a worker has for it.
struct End {
    identity: Identity,
    peer: Fingerprint,
    settings: Settings,
    quic: Quic,
    local: Local,
    memory: Memory,
    address: SocketAddr,
    next_tick: Instant,
    /// Payloads that have arrived, in their order.
    arrived: Vec<Vec<u8>>,
    events: Vec<Event>,
    losses: Vec<Loss>,
    /// It is there: else what is sent to it is lost.
    is_running: bool,
}

/// A send on its way.
struct Datagrams {
    from: SocketAddr,
    to: SocketAddr,
    tos: u8,
    stride: usize,
    bytes: Vec<u8>,
}

/// Two ends and the wire.
struct World {
    now: Instant,
    start: Instant,
    ends: [End; 2],
    wire: BTreeMap<(Instant, u64), Datagrams>,
    sequence: u64,
    /// The largest payload of a datagram that crosses.
    payload_max: usize,
    /// One of so many datagrams is lost; 0 for none.
    lose_each: u64,
    /// One of so many sends comes later than the next; 0 for none.
    delay_each: u64,
    /// Sends that went onto the wire, with the number of their datagrams.
    sends: Vec<usize>,
}

impl End {
    fn new(
        identity: &Identity,
        peer: Fingerprint,
        address: SocketAddr,
        to: Option<SocketAddr>,
        settings: Settings,
        now: Instant,
    ) -> Self {
        let quic = Quic::new(identity.tls(peer), settings, now);
        quic.add(PeerSpec { id: PEER, endpoint: to }, now);
        Self {
            identity: identity.clone(),
            settings,
            peer,
            quic,
            local: Local::new(0),
            memory: Memory::new(1),
            address,
            next_tick: now,
            arrived: Vec::new(),
            events: Vec::new(),
            losses: Vec::new(),
            is_running: true,
        }
    }

    /// Queues packets of one length behind their headers.
    fn queue(&mut self, now: Instant, packets: &[Vec<u8>]) {
        let slot = self.memory.slot(0);
        let mut pieces = Vec::new();
        let mut at = 0;
        for packet in packets {
            let (head, body) = packet.split_at(packet.len().min(7));
            for part in [head, body] {
                let piece = slot.part(at, part.len());
                self.memory.bytes_mut(piece).copy_from_slice(part);
                pieces.push(piece);
                at += part.len();
            }
        }
        let transmit = Transmit {
            carrier: Carrier::Quic,
            to: self.address,
            from: None,
            entropy: 0,
            tos: 0,
            room: u16::MAX,
            datagram_len: packets[0].len() as u16,
            count: packets.len() as u16,
            len: at as u32,
            pieces: 0..pieces.len() as u32,
            peer: PEER,
            network: NetworkId(0),
            relayed_from: None,
        };
        self.quic.queue(now, &transmit, &pieces, &self.memory, &mut self.local);
    }

    fn receive(&mut self, now: Instant, datagrams: &Datagrams) {
        let piece: Piece = self.memory.slot(0).part(0, datagrams.bytes.len());
        self.memory.bytes_mut(piece).copy_from_slice(&datagrams.bytes);
        let received = Received {
            piece,
            stride: Some(datagrams.stride as u16),
            from: datagrams.from,
            local: Some(datagrams.to.ip()),
            tos: datagrams.tos,
            truncated: false,
            carrier: Carrier::Quic,
        };
        self.local.contents.clear();
        self.quic.receive(now, &received, &mut self.memory, &mut self.local);
        for run in &self.local.contents.runs {
            assert_eq!(run.peer, PEER);
            for piece in &self.local.contents.packets[run.packets.clone()] {
                self.arrived.push(self.memory.bytes(*piece).to_vec());
            }
        }
    }

    fn due(&self, now: Instant) -> Instant {
        let deadline = self.local.next_deadline(now);
        deadline.map_or(self.next_tick, |at| at.min(self.next_tick))
    }

    fn work(&mut self, now: Instant) {
        if self.local.next_deadline(now).is_some_and(|at| at <= now) {
            self.quic.handle_deadlines(now, &mut self.local);
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.quic.tick(now, &mut self.local);
        }
    }

    fn lost(&self, reason: DropReason) -> u64 {
        let of = self.losses.iter().filter(|loss| loss.reason == reason);
        of.map(|loss| loss.packets).sum()
    }

    fn is_up(&self) -> bool {
        self.quic.status(PEER).is_some_and(|status| status.connection.is_some())
    }

    fn path_mtu(&self) -> Option<u16> {
        self.events.iter().rev().find_map(|event| match event {
            Event::PathMtu { mtu, .. } => Some(*mtu),
            _ => None,
        })
    }

    fn open(&self) -> usize {
        self.quic.front().links().len()
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), 4433))
}

/// A packet with a number in it, so many bytes long.
fn packet(number: u32, len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[..4].copy_from_slice(&number.to_be_bytes());
    packet
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[..4].try_into().unwrap())
}

impl World {
    /// Two ends that know each other; those that `dials` says dial.
    fn new(dials: [bool; 2]) -> Self {
        let identities = ["a", "b"].map(Identity::new);
        Self::of(&identities, dials, Settings::default())
    }

    fn of(identities: &[Identity; 2], dials: [bool; 2], settings: Settings) -> Self {
        let now = Instant::now();
        let end = |own: usize| {
            let other = 1 - own;
            let to = dials[own].then(|| address(other as u8));
            End::new(
                &identities[own],
                identities[other].fingerprint(),
                address(own as u8),
                to,
                settings,
                now,
            )
        };
        Self {
            now,
            start: now,
            ends: [end(0), end(1)],
            wire: BTreeMap::new(),
            sequence: 0,
            payload_max: 1472,
            lose_each: 0,
            delay_each: 0,
            sends: Vec::new(),
        }
    }

    /// Ends that have a connection, and know the path.
    fn connected(dials: [bool; 2]) -> Self {
        let mut world = Self::new(dials);
        world.connect();
        world
    }

    /// Lets time go on until there is a connection, and the path is known.
    #[track_caller]
    fn connect(&mut self) {
        self.run_until(Duration::from_secs(10), |world| {
            world.ends.iter().all(|end| end.is_up() && end.path_mtu().is_some())
        });
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Lets time go on.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time go on until something holds; gives how long that took.
    #[track_caller]
    fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let (start, end) = (self.now, self.now + limit);
        while !holds(self) {
            assert!(self.step(end), "it does not hold within {limit:?}");
        }
        self.now - start
    }

    /// Takes the next thing that happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let arrives = self.wire.keys().next().map(|(at, _)| *at);
        let due = self.ends.iter().filter(|end| end.is_running).map(|end| end.due(self.now));
        let next = due.chain(arrives).min().unwrap_or(end);
        if next > end {
            return false;
        }
        self.now = next.max(self.now);
        if let Some(entry) = self.wire.first_entry()
            && entry.key().0 <= self.now
        {
            let datagrams = entry.remove();
            let now = self.now;
            let to = self.ends.iter_mut().find(|end| end.address == datagrams.to);
            if let Some(to) = to.filter(|to| to.is_running) {
                to.receive(now, &datagrams);
            }
        }
        for index in 0..2 {
            if self.ends[index].is_running {
                self.ends[index].work(self.now);
                self.flush(index);
            }
        }
        true
    }

    /// Puts what an end has to send onto the wire.
    fn flush(&mut self, index: usize) {
        let now = self.now;
        let end = &mut self.ends[index];
        while let Some(out) = end.quic.poll_transmit(now, &mut end.local) {
            let stride = usize::from(out.datagram_len);
            self.sends.push(usize::from(out.count));
            let mut bytes = Vec::new();
            for datagram in end.local.sealed.chunks(stride) {
                self.sequence += 1;
                let is_lost = self.sequence.is_multiple_of(self.lose_each);
                if datagram.len() <= self.payload_max && !is_lost {
                    bytes.extend_from_slice(datagram);
                }
            }
            if bytes.is_empty() {
                continue;
            }
            let is_late = self.sequence.is_multiple_of(self.delay_each);
            let delay = if is_late { DELAY * 3 / 2 } else { DELAY };
            let datagrams =
                Datagrams { from: end.address, to: out.to, tos: out.tos, stride, bytes };
            self.wire.insert((now + delay, self.sequence), datagrams);
        }
        end.events.append(&mut end.local.post.events);
        end.losses.append(&mut end.local.post.losses);
    }

    /// Sends packets of one length from an end, with these numbers.
    fn send(&mut self, from: usize, numbers: std::ops::Range<u32>, len: usize) {
        let packets: Vec<_> = numbers.map(|number| packet(number, len)).collect();
        self.ends[from].queue(self.now, &packets);
        self.flush(from);
    }

    /// An end is restarted: it has forgotten everything but its key.
    fn restart(&mut self, index: usize, dials: bool) {
        let former = &self.ends[index];
        let to = dials.then(|| address(1 - index as u8));
        let end =
            End::new(&former.identity, former.peer, former.address, to, former.settings, self.now);
        self.ends[index] = end;
    }
}
