//! Packets of one batch, merged into as few device writes as may be (GRO).
//!
//! 1. A packet is looked at alone: is it of a kind that merges, and is its checksum right?
//! 2. The open chain of its flow is looked up: the last used first, then a small table.
//! 3. It extends the chain if their headers agree; otherwise it ends it and begins the next.
//! 4. At the end of the batch every chain becomes one write, in the order of their first packets.
//!
//! Only the newest chain of a flow is ever extended, so a flow's packets keep their order. What
//! does not merge is written as it came, byte for byte.

mod chain;

use std::ops::Range;

use super::{Gso, VnetHeader};
use crate::buffer::{Memory, Piece};
use crate::frame::checksum::{Check, glance, verify_transport};
use crate::frame::{Headers, L4, Layer, Mac};
use crate::peer::NetworkId;
use chain::{Candidate, Chain, Next};

/// Flows whose chains are open at the same time: more than a batch has, so that few share a place.
const OPEN_MAX: usize = 128;

/// Pieces of one write; the kernel takes 1024 (UIO_MAXIOV), and the vnet_hdr is one.
const PIECES_MAX: usize = 512;
const _: () = assert!(PIECES_MAX < 1024);

/// No chain, no member.
const NONE: u32 = u32::MAX;

/// Which protocols are merged: what the device takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalesce {
    /// TCP, if the device has TSO.
    pub tcp: bool,
    /// UDP, if the device has USO.
    pub udp: bool,
    /// Which TCP is merged beyond 64 KiB.
    pub big_tcp: BigTcp,
}

/// Which TCP over IPv4 is merged into packets larger than IP has a length for: its total length is
/// zero then, and the packet as long as its buffer (BIG TCP, `iph_totlen` in
/// `include/linux/ip.h`, since Linux 6.3).
///
/// For the host's own sockets that saves most of the way through the kernel, and acknowledgements.
/// What is forwarded goes to a device that takes less and is cut by the processor, so that it is
/// dearer than without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BigTcp {
    /// None.
    Never,
    /// All: the host forwards nothing.
    Always,
    /// What is sent to this address: of what arrives in frames, that is for the host.
    To(Mac),
}

impl BigTcp {
    fn is_for(self, headers: &Headers) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::To(mac) => headers.link.is_some_and(|link| link.dst == mac),
        }
    }
}

/// One write to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceWrite {
    /// The header that goes in front.
    pub vnet: VnetHeader,
    /// The pieces to gather: positions in the batch's list. Fewer than 1000.
    pub pieces: Range<u32>,
    /// Length of all pieces together, bytes.
    pub len: u32,
    /// Packets of the wire that are in it.
    pub packets: u32,
    /// The network whose device it is for.
    pub network: NetworkId,
}

impl DeviceWrite {
    /// Whether it is larger than IP has a length for.
    pub fn is_big(&self) -> bool {
        const LINK_LEN_MAX: u32 = 14 + 2 * 4;
        self.packets > 1 && self.len > 65_535 + LINK_LEN_MAX
    }
}

/// Merges the packets of one network, batch by batch.
pub struct Coalescer {
    enabled: Coalesce,
    network: NetworkId,
    /// In order of arrival of their first packets.
    chains: Vec<Chain>,
    /// Payload of packets behind each chain's first.
    members: Vec<Member>,
    open: Open,
    /// The open chain that took the last packet, and its flow.
    newest: Option<Place>,
}

/// A payload in a chain, and the next one.
struct Member {
    piece: Piece,
    next: u32,
}

impl Coalescer {
    /// Makes one for a network.
    pub fn new(enabled: Coalesce, network: NetworkId) -> Self {
        Self {
            enabled,
            network,
            chains: Vec::new(),
            members: Vec::new(),
            open: Open::default(),
            newest: None,
        }
    }

    /// Changes what is merged, for when the kernel refuses it; between batches.
    pub fn enable(&mut self, enabled: Coalesce) {
        self.enabled = enabled;
    }

    /// Changes which TCP is merged beyond 64 KiB; between batches.
    pub fn set_big_tcp(&mut self, big_tcp: BigTcp) {
        self.enabled.big_tcp = big_tcp;
    }

    /// Whether any TCP is merged beyond 64 KiB.
    pub fn merges_big_tcp(&self) -> bool {
        self.enabled.tcp && self.enabled.big_tcp != BigTcp::Never
    }

    /// Whether the device takes GSO packets of this kind.
    pub fn takes(&self, gso: Gso) -> bool {
        match gso {
            Gso::None => true,
            Gso::Tcp { .. } => self.enabled.tcp,
            Gso::Udp { .. } => self.enabled.udp,
        }
    }

    /// Looks at a packet's checksum, as far as it has to be known here: that of a protocol that is
    /// not merged is left to the kernel.
    ///
    /// # Panics
    ///
    /// Panics if `headers` were not made from `bytes`.
    #[inline]
    pub fn check(&self, bytes: &[u8], headers: &Headers) -> Check {
        if self.merges(headers) { verify_transport(bytes, headers) } else { glance(bytes, headers) }
    }

    /// Takes a frame or packet, and what its checksum is: see [`Coalescer::check`]. The bytes must
    /// stay where they are until [`Coalescer::finish`].
    ///
    /// # Panics
    ///
    /// Panics if `headers` were not made from the bytes of `piece`.
    #[inline]
    pub fn push(
        &mut self,
        memory: &mut Memory,
        piece: Piece,
        headers: &Headers,
        layer: Layer,
        check: Check,
    ) {
        debug_assert_eq!(headers.link.is_some(), layer == Layer::L2, "layer of the headers");
        match self.candidate(memory.bytes(piece), headers, check) {
            Some(candidate) => self.merge(memory, piece, headers, &candidate),
            None => self.push_alone(piece, headers, check),
        }
    }

    /// Takes a frame or packet that continues the last one: all that its headers say is the same,
    /// but for what changes from packet to packet of a stream, and its checksum is right. That is
    /// found out without parsing. `false`: nothing was done.
    #[inline]
    pub fn extend(&mut self, memory: &Memory, piece: Piece) -> bool {
        let Some(Place { hash, chain }) = self.newest else { return false };
        let Some(next) = self.chains[chain as usize].next(memory, piece) else { return false };
        self.attach(hash, chain, piece, &next);
        true
    }

    /// Takes a frame or packet that is not merged, as [`Coalescer::push`] does: one whose bytes
    /// also go elsewhere, because merging changes headers.
    pub fn push_alone(&mut self, piece: Piece, headers: &Headers, check: Check) {
        self.newest = None;
        if !is_pure_ack(headers) {
            self.close_flow(headers);
        }
        let vnet = match check {
            Check::Partial => VnetHeader::of(headers, Gso::None),
            Check::Valid | Check::Invalid | Check::Absent | Check::Unread => VnetHeader::default(),
        };
        self.chains.push(Chain::single(piece, vnet, 1));
    }

    /// Takes a received GSO packet with a partial checksum: one write of its own.
    ///
    /// # Panics
    ///
    /// Panics if `headers` were not made from the bytes of `piece`.
    pub fn push_super(
        &mut self,
        _memory: &mut Memory,
        piece: Piece,
        headers: &Headers,
        layer: Layer,
        gso: Gso,
    ) {
        debug_assert_eq!(headers.link.is_some(), layer == Layer::L2, "layer of the headers");
        self.close_flow(headers);
        let payload = headers.end_at() - headers.payload_start();
        let packets = match gso {
            Gso::None => 1,
            Gso::Tcp { size } | Gso::Udp { size } => payload.div_ceil(usize::from(size).max(1)),
        };
        let vnet = VnetHeader::of(headers, gso);
        self.chains.push(Chain::single(piece, vnet, packets.max(1) as u32));
    }

    /// Gives all writes of the batch, and begins the next.
    ///
    /// The headers of merged packets are changed in place: their lengths, IPv4 checksum, TCP push
    /// and window, and the transport checksum, which becomes partial.
    pub fn finish(
        &mut self,
        memory: &mut Memory,
        writes: &mut Vec<DeviceWrite>,
        pieces: &mut Vec<Piece>,
    ) {
        for chain in &self.chains {
            let start = pieces.len() as u32;
            pieces.push(chain.seed);
            let mut member = chain.first_member;
            while let Some(Member { piece, next }) = self.members.get(member as usize) {
                push_joined(pieces, *piece);
                member = *next;
            }
            let vnet = chain.seal(memory.bytes_mut(chain.seed));
            writes.push(DeviceWrite {
                vnet,
                pieces: start..pieces.len() as u32,
                len: chain.len,
                packets: chain.packets,
                network: self.network,
            });
        }
        self.chains.clear();
        self.members.clear();
        self.open.clear();
        self.newest = None;
    }

    /// Whether this protocol is merged.
    fn merges(&self, headers: &Headers) -> bool {
        match headers.l4 {
            L4::Tcp { .. } => self.enabled.tcp,
            L4::Udp { .. } => self.enabled.udp,
            L4::Icmp4 { .. } | L4::Icmp6 { .. } | L4::Other(_) | L4::None => false,
        }
    }

    fn candidate(&self, bytes: &[u8], headers: &Headers, check: Check) -> Option<Candidate> {
        let is_candidate = check == Check::Valid && self.merges(headers);
        is_candidate.then(|| Candidate::new(bytes, headers)).flatten()
    }

    #[inline]
    fn merge(&mut self, memory: &Memory, piece: Piece, headers: &Headers, packet: &Candidate) {
        let hash = headers.flow_hash();
        if let Some(chain) = self.open.find(hash) {
            if self.chains[chain as usize].accepts(memory, piece, packet) {
                self.attach(hash, chain, piece, &packet.next());
                return;
            }
            self.open.remove(hash);
        }
        let is_big = packet.may_be_big() && self.enabled.big_tcp.is_for(headers);
        let chain = Chain::seed(piece, headers, packet, is_big);
        let index = self.chains.len() as u32;
        self.newest = (!chain.is_full()).then_some(Place { hash, chain: index });
        if self.newest.is_some() {
            self.open.insert(hash, index);
        }
        self.chains.push(chain);
    }

    /// Adds a packet to a chain that accepts it.
    #[inline]
    fn attach(&mut self, hash: u32, index: u32, piece: Piece, packet: &Next) {
        let chain = &mut self.chains[index as usize];
        let member = self.members.len() as u32;
        self.members.push(Member { piece: piece.skip(chain.payload_start()), next: NONE });
        match self.members.get_mut(chain.last_member as usize) {
            Some(last) => last.next = member,
            None => chain.first_member = member,
        }
        chain.last_member = member;
        chain.extend(packet);
        self.newest = (!chain.is_full()).then_some(Place { hash, chain: index });
        if self.newest.is_none() {
            self.open.remove(hash);
        }
    }

    /// Ends the chain of a packet's flow: what comes next must not get in front of the packet.
    fn close_flow(&mut self, headers: &Headers) {
        self.newest = None;
        if headers.is_fragment() {
            // cold: no ports, so it may belong to any
            self.open.clear();
        } else {
            self.open.remove(headers.flow_hash());
        }
    }
}

/// Whether it is an acknowledgement without data: it may be overtaken by data of its flow.
fn is_pure_ack(headers: &Headers) -> bool {
    matches!(headers.l4, L4::Tcp { flags, .. } if chain::is_plain_ack(flags))
        && headers.payload_start() == headers.end_at()
}

/// Adds a piece, as a longer last one where it begins at the end of that.
fn push_joined(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.touches(piece) => last.len += piece.len,
        _ => pieces.push(piece),
    }
}

/// The open chains by the hash of their flow, each at the place that the hash names.
///
/// Two flows with one place end each other's chains, and two with one hash never merge, because
/// [`Chain::accepts`] compares the headers.
struct Open {
    places: [Place; OPEN_MAX],
    is_empty: bool,
}

#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    chain: u32,
}

impl Place {
    const FREE: Self = Self { hash: 0, chain: NONE };
}

impl Default for Open {
    fn default() -> Self {
        Self { places: [Place::FREE; OPEN_MAX], is_empty: true }
    }
}

impl Open {
    #[inline]
    fn find(&self, hash: u32) -> Option<u32> {
        let place = self.places[hash as usize % OPEN_MAX];
        (place.hash == hash && place.chain != NONE).then_some(place.chain)
    }

    #[inline]
    fn insert(&mut self, hash: u32, chain: u32) {
        self.places[hash as usize % OPEN_MAX] = Place { hash, chain };
        self.is_empty = false;
    }

    #[inline]
    fn remove(&mut self, hash: u32) {
        let place = &mut self.places[hash as usize % OPEN_MAX];
        if place.hash == hash {
            *place = Place::FREE;
        }
    }

    fn clear(&mut self) {
        if !self.is_empty {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests;
