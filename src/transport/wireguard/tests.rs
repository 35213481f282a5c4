//! Two engines, with what is between them in the hands of the test.

use std::net::Ipv4Addr;

use super::*;
use crate::buffer::{Memory, Piece};
use crate::peer::NetworkId;
use crate::transport::opened::Contents;
use crate::transport::{Carrier, Received};

#[cfg(feature = "virtual-time")]
mod ageing;
mod keys;
mod places;
mod refused;
mod sessions;

/// The only peer of each engine.
const PEER: PeerId = PeerId::new(0, 0);

/// The most bytes of a packet that the path takes.
const ROOM: u16 = 1440;

/// One end: an engine and what a worker has for it.
struct End {
    engine: WireGuard,
    address: SocketAddr,
    /// The address of its own that is sent to.
    local: Option<IpAddr>,
    memory: Memory,
    sealed: Memory,
    scratch: Scratch,
    post: Post,
    now: Instant,
}

/// A datagram, or a run of them, on its way.
#[derive(Clone, Debug)]
struct Datagrams {
    from: SocketAddr,
    bytes: Vec<u8>,
    stride: usize,
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes(&[seed; 32]).unwrap()
}

fn preshared(seed: u8) -> PresharedKey {
    PresharedKey::from_bytes(&[seed; 32]).unwrap()
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 51820))
}

/// Two ends that know each other, and only the first one where the other is.
fn pair() -> (End, End) {
    let a = End::new(1, 2, Some(address(2)), None);
    let b = End::new(2, 1, None, None);
    (a, b)
}

/// An IPv4 packet with this many bytes in all.
fn packet(len: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; len];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet
}

impl End {
    fn new(own: u8, other: u8, to: Option<SocketAddr>, psk: Option<PresharedKey>) -> Self {
        let now = Instant::now();
        let engine = WireGuard::new(private(own), Duration::from_secs(120), now);
        engine.add(
            PeerSpec {
                id: PEER,
                key: private(other).public(),
                preshared: psk,
                keepalive: None,
                endpoint: to,
            },
            now,
        );
        Self {
            engine,
            address: address(own),
            local: None,
            memory: Memory::new(1),
            sealed: Memory::new(1),
            scratch: Scratch::default(),
            post: Post::default(),
            now,
        }
    }

    /// Seals packets, all of one length but perhaps the last.
    fn send(&mut self, packets: &[Vec<u8>]) -> Option<Datagrams> {
        let slot = self.memory.slot(0);
        let mut pieces = Vec::new();
        let mut at = 0;
        for packet in packets {
            // Head and body, as a segment has them.
            let (head, body) = packet.split_at(packet.len().min(7));
            for part in [head, body] {
                let piece = slot.part(at, part.len());
                self.memory.bytes_mut(piece).copy_from_slice(part);
                pieces.push(piece);
                at += part.len();
            }
        }
        let transmit = Transmit {
            carrier: Carrier::WireGuard,
            to: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            from: None,
            entropy: 0,
            tos: 0,
            room: ROOM,
            datagram_len: packets[0].len() as u16,
            count: packets.len() as u16,
            len: at as u32,
            pieces: 0..pieces.len() as u32,
            peer: PEER,
            network: NetworkId(0),
            relayed_from: None,
        };
        let room = self.sealed.slot(0);
        let out = self.engine.seal(
            self.now,
            &transmit,
            &pieces,
            &self.memory,
            (&mut self.sealed, room),
            &mut self.scratch,
            &mut self.post,
        )?;
        let bytes = self.sealed.bytes(room.part(0, out.len as usize)).to_vec();
        Some(Datagrams { from: self.address, bytes, stride: out.datagram_len.into() })
    }

    /// Opens what came; gives the packets in it.
    fn receive(&mut self, datagrams: &Datagrams) -> Vec<Vec<u8>> {
        let piece = self.memory.slot(0).part(0, datagrams.bytes.len());
        self.memory.bytes_mut(piece).copy_from_slice(&datagrams.bytes);
        let received = Received {
            piece,
            stride: Some(datagrams.stride as u16),
            from: datagrams.from,
            local: self.local,
            tos: 0,
            truncated: false,
            carrier: Carrier::WireGuard,
        };
        let mut contents = Contents::default();
        let (memory, scratch, post) = (&mut self.memory, &mut self.scratch, &mut self.post);
        self.engine.open(self.now, &received, memory, scratch, &mut contents, post);
        assert!(contents.runs.iter().all(|run| run.peer == PEER && !run.packets.is_empty()));
        let bytes = |piece: &Piece| self.memory.bytes(*piece).to_vec();
        contents.packets.iter().map(bytes).collect()
    }

    /// Takes the letters that are to be sent.
    fn letters(&mut self) -> Vec<Datagrams> {
        let letters = self.post.letters.drain(..);
        let datagrams = |letter: Letter| Datagrams {
            from: self.address,
            stride: letter.bytes.len(),
            bytes: letter.bytes,
        };
        letters.map(datagrams).collect()
    }

    /// Takes the reasons of what was lost.
    fn losses(&mut self) -> Vec<(DropReason, u64)> {
        self.post.losses.drain(..).map(|loss| (loss.reason, loss.packets)).collect()
    }

    fn start(&mut self) {
        self.engine.start(self.now, &mut self.post);
    }

    /// Lets time pass, also on boringtun's clock where that is turned by hand.
    fn tick(&mut self, after: Duration) {
        #[cfg(feature = "virtual-time")]
        mock_instant::MockClock::advance(after);
        self.look(after);
    }

    /// Does what is due, so much later than before.
    fn look(&mut self, after: Duration) {
        self.now += after;
        self.engine.tick(self.now, &mut self.post);
    }

    fn is_established(&self) -> bool {
        self.engine.status(PEER).unwrap().established.is_some()
    }
}

/// Carries letters to and fro until nobody has more to say; gives the packets that came out at
/// each end.
fn settle(a: &mut End, b: &mut End) -> [Vec<Vec<u8>>; 2] {
    let mut out = [Vec::new(), Vec::new()];
    for _ in 0..8 {
        let [to_a, to_b] = &mut out;
        a.letters().iter().for_each(|letter| to_b.extend(b.receive(letter)));
        b.letters().iter().for_each(|letter| to_a.extend(a.receive(letter)));
    }
    assert!(a.post.letters.is_empty() && b.post.letters.is_empty(), "they talk for ever");
    out
}
