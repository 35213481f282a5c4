//! Two WireGuard engines with a session between them, and what a worker has beside one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::buffer::{Memory, Piece};
use crate::peer::{NetworkId, PeerId};
use crate::transport::opened::Contents;
use crate::transport::wireguard::{Letter, PeerSpec, Post, PrivateKey, Scratch, WireGuard};
use crate::transport::{Carrier, Received, Transmit};

/// The addresses of VXLAN inside WireGuard: ours, the peer's.
pub(super) const TUNNEL_IPS: [Ipv4Addr; 2] =
    [Ipv4Addr::new(10, 255, 0, 1), Ipv4Addr::new(10, 255, 0, 2)];

/// The other end, which each engine knows as its only peer.
const PEER: PeerId = PeerId::new(0, 0);

/// A session that does not grow old: nobody calls [`WireGuard::tick`].
const REKEY_AFTER: Duration = Duration::from_secs(120);

/// The most bytes of a packet that the path takes: more than any has.
const ROOM: u16 = 9000;

/// Two ends of WireGuard, 0 and 1, with nothing but memory between them.
pub struct Line {
    ends: [WireGuard; 2],
    /// One slot: what was sealed last.
    sealed: Memory,
    last: Received,
    scratch: Scratch,
    contents: Contents,
    post: Post,
    pieces: Vec<Piece>,
}

impl Line {
    /// Makes both ends and their session. Boringtun reads the clock for that.
    ///
    /// # Panics
    ///
    /// Panics if they cannot agree, which would be a defect.
    pub fn new(now: Instant) -> Self {
        let keys = [1, 2].map(|seed| PrivateKey::from_bytes(&[seed; 32]).expect("not zero"));
        let publics = [keys[1].public(), keys[0].public()];
        let ends = keys.map(|key| WireGuard::new(key, REKEY_AFTER, now));
        for (end, key) in publics.into_iter().enumerate() {
            let endpoint = Some(address(1 - end));
            let spec = PeerSpec { id: PEER, key, preshared: None, keepalive: None, endpoint };
            ends[end].add(spec, now);
        }
        let mut line = Self {
            ends,
            sealed: Memory::new(1),
            last: received(Piece::default(), None, 0),
            scratch: Scratch::default(),
            contents: Contents::default(),
            post: Post::default(),
            pieces: Vec::new(),
        };
        line.shake_hands(now);
        line
    }

    /// Initiation, response, and the message that makes the session the responder's too.
    fn shake_hands(&mut self, now: Instant) {
        let mut memory = Memory::new(1);
        self.ends[0].start(now, &mut self.post);
        for end in [1, 0, 1] {
            for Letter { bytes, .. } in std::mem::take(&mut self.post.letters) {
                let piece = memory.slot(0).part(0, bytes.len());
                memory.bytes_mut(piece).copy_from_slice(&bytes);
                self.open(now, end, &received(piece, None, 1 - end), &mut memory);
            }
        }
        let is_up = |end: &WireGuard| end.status(PEER).is_some_and(|it| it.established.is_some());
        assert!(self.ends.iter().all(is_up) && self.post.letters.is_empty(), "they agree");
        self.post = Post::default();
    }

    /// Seals the packets of a run, all of `stride` bytes but perhaps the last, as an end that sends
    /// them does; gives how many they are.
    pub fn seal_run(
        &mut self,
        now: Instant,
        end: usize,
        run: Piece,
        stride: Option<u16>,
        memory: &Memory,
    ) -> u64 {
        let stride = stride.map_or(run.len, u32::from);
        self.pieces.clear();
        let starts = (0..run.len).step_by(stride as usize);
        let packet = |at: u32| run.part(at as usize, stride.min(run.len - at) as usize);
        self.pieces.extend(starts.map(packet));
        let transmit = transmit(self.pieces.len(), stride, run.len);
        let pieces = std::mem::take(&mut self.pieces);
        let (packets, _) = self.seal(now, end, &transmit, &pieces, memory);
        self.pieces = pieces;
        packets
    }

    /// Seals what an end sends; gives how many packets that were, and their bytes once sealed.
    pub(super) fn seal(
        &mut self,
        now: Instant,
        end: usize,
        transmit: &Transmit,
        pieces: &[Piece],
        memory: &Memory,
    ) -> (u64, u64) {
        let room = self.sealed.slot(0);
        let into = (&mut self.sealed, room);
        let (scratch, post) = (&mut self.scratch, &mut self.post);
        let sealed = self.ends[end].seal(now, transmit, pieces, memory, into, scratch, post);
        let Some(sealed) = sealed else { return (0, 0) };
        let stride = (sealed.count > 1).then_some(sealed.datagram_len);
        self.last = received(room.part(0, sealed.len as usize), stride, end);
        (sealed.count.into(), sealed.len.into())
    }

    /// Puts what was sealed last into a slot of the other end.
    pub fn carry(&self, slot: Piece, memory: &mut Memory) -> Received {
        let piece = slot.part(0, self.last.piece.len as usize);
        memory.bytes_mut(piece).copy_from_slice(self.sealed.bytes(self.last.piece));
        Received { piece, ..self.last }
    }

    /// Opens what an end has received, each message in its place; gives the packets of all that
    /// was opened since [`Line::forget`].
    pub fn open(
        &mut self,
        now: Instant,
        end: usize,
        received: &Received,
        memory: &mut Memory,
    ) -> &Contents {
        let Self { scratch, contents, post, .. } = self;
        self.ends[end].open(now, received, memory, scratch, contents, post);
        &self.contents
    }

    /// Gives the packets of all that was opened.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Forgets what was opened, as a worker does after each batch.
    pub fn forget(&mut self) {
        self.contents.clear();
    }

    /// Gives how many packets or messages ended here.
    pub fn lost(&self) -> u64 {
        self.post.losses.iter().map(|loss| loss.packets).sum()
    }
}

pub(super) fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, end as u8 + 1], 51_820))
}

fn received(piece: Piece, stride: Option<u16>, from: usize) -> Received {
    Received {
        piece,
        stride,
        from: address(from),
        local: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2 - from as u8))),
        tos: 0,
        truncated: false,
        carrier: Carrier::WireGuard,
    }
}

fn transmit(count: usize, datagram_len: u32, len: u32) -> Transmit {
    Transmit {
        carrier: Carrier::WireGuard,
        to: address(1),
        from: None,
        entropy: 0,
        tos: 0,
        room: ROOM,
        datagram_len: datagram_len as u16,
        count: count as u16,
        len,
        pieces: 0..count as u32,
        peer: PEER,
        network: NetworkId(0),
        relayed_from: None,
    }
}
