//! Cut, encapsulate and queue: the half of the way that leads to the underlay. Packets from our
//! own device come through here, and those that this node relays from peer to peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use super::output::Way;
use super::{Network, Node, Output, Peer};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::forward::{Ingress, Verdict};
use crate::frame::checksum::{self, Check};
use crate::frame::{Headers, L4, ecn, tcp};
use crate::offload::{Cut, CutError, Gso, VnetHeader};
use crate::peer::{NetworkId, PeerId};
use crate::transport::Carrier;
use crate::transport::outer::Outer;

/// Stands where WireGuard or QUIC put the peer's endpoint.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// The longest headers of a GSO packet whose segments are laid out in its own place.
const HEADER_MAX: usize = 128;

/// A packet on its way to the underlay. In front of it are 8 bytes that may be overwritten.
pub(super) struct Load {
    pub(super) network: NetworkId,
    pub(super) packet: Piece,
    pub(super) headers: Headers,
    pub(super) vnet: VnetHeader,
    pub(super) ingress: Ingress,
    /// Bytes in front of it that its segments may be laid out in.
    pub(super) front: usize,
}

impl Load {
    /// Wire packets that it would have been cut into, for the counters.
    fn packets(&self) -> u64 {
        let gso = self.vnet.gso().unwrap_or(Gso::None);
        gso.packets(&self.headers)
    }
}

impl Node {
    /// Sends a load where the verdict says. What belongs to our own device is left to the caller.
    ///
    /// # Errors
    ///
    /// Returns why there is no peer to send it to. What fails on the way to a peer is counted here,
    /// with the peer.
    pub(super) fn carry(
        &mut self,
        now: Instant,
        load: &mut Load,
        verdict: Verdict,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        // What the segments in hand were cut for.
        let mut cut_for = None;
        if !matches!(verdict, Verdict::Peer(_)) {
            // For another peer it may have to be cut once more.
            load.front = 0;
        }
        match verdict {
            Verdict::Drop(reason) => Err(reason),
            Verdict::Device => Ok(()),
            Verdict::Peer(peer) => {
                self.carry_or_count(now, load, peer, &mut cut_for, memory, out);
                Ok(())
            }
            Verdict::Flood { .. } => {
                for index in 0.. {
                    let network = self.networks.at(load.network).ok_or(DropReason::UnknownVni)?;
                    let Some(&peer) = network.forwarding.peers().get(index) else { break };
                    if load.ingress != Ingress::Peer(peer) {
                        self.carry_or_count(now, load, peer, &mut cut_for, memory, out);
                    }
                }
                Ok(())
            }
            Verdict::FloodShared(prefix) => {
                for index in 0.. {
                    let network = self.networks.at(load.network).ok_or(DropReason::UnknownVni)?;
                    let sharing = network.forwarding.sharing(prefix);
                    let Some(&peer) = sharing.get(index) else { break };
                    if load.ingress != Ingress::Peer(peer) {
                        self.carry_or_count(now, load, peer, &mut cut_for, memory, out);
                    }
                }
                Ok(())
            }
        }
    }

    /// One copy, which may be of a flood: a peer that cannot be reached does not stop the others.
    fn carry_or_count(
        &mut self,
        now: Instant,
        load: &mut Load,
        peer: PeerId,
        cut_for: &mut Option<(usize, Outer)>,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        if let Err(reason) = self.carry_to(now, load, peer, cut_for, memory, out) {
            let packets = load.packets();
            self.count_drop(Some(load.network), Some(peer), reason, packets);
        }
    }

    fn carry_to(
        &mut self,
        now: Instant,
        load: &mut Load,
        to: PeerId,
        cut_for: &mut Option<(usize, Outer)>,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        let network = self.networks.at(load.network).ok_or(DropReason::UnknownVni)?;
        let peer = self.peers.live(to).ok_or(DropReason::NoPeers)?;
        let max_packet = max_packet(network, peer, &load.headers);
        if network.mss_clamp {
            let needs_checksum = load.vnet.needs_checksum();
            clamp_mss(load.packet, &load.headers, max_packet, needs_checksum, memory);
        }
        // The segments are the same for every peer with the same limit and the same headers.
        let outer = network.outer(peer, &load.headers, self.outer_tos(&load.headers));
        if *cut_for != Some((max_packet, outer)) {
            *cut_for = None;
            match cut(&outer, load, max_packet, memory, &mut self.segments) {
                Ok(()) => *cut_for = Some((max_packet, outer)),
                Err(CutError::TooBig) => {
                    return self.too_big(now, load, to, max_packet, memory, out);
                }
                Err(CutError::TooManySegments) => return Err(DropReason::TooManySegments),
                Err(CutError::Malformed(reason)) => return Err(reason),
            }
        }
        let way = self.way(load, to).ok_or(DropReason::NoPeers)?;
        out.send_all(&way, &self.segments);
        let (packets, bytes) = (self.segments.len() as u64, load.packet.len as usize);
        if let Some(peer) = self.peers.live_mut(to) {
            peer.sent.count(packets, bytes);
        }
        Ok(())
    }

    /// The outer traffic class for a packet.
    pub(super) fn outer_tos(&self, headers: &Headers) -> u8 {
        ecn::encapsulate(headers.tos(), self.copy_dscp)
    }

    /// The outer header's fields for a load to a peer.
    pub(super) fn way(&self, load: &Load, to: PeerId) -> Option<Way> {
        let network = self.networks.at(load.network)?;
        let peer = self.peers.live(to)?;
        let flow = load.headers.flow_hash();
        let carrier = peer.carrier(network.layer);
        let (entropy, room) = match carrier {
            Carrier::Vxlan | Carrier::VxlanGpe => (network.lanes.of(flow), u16::MAX),
            Carrier::WireGuard => (0, peer.sealed_max()),
            Carrier::Quic => (0, u16::MAX),
        };
        // QUIC has congestion marks of its own in the outer header, and one connection for all.
        let tos = if carrier == Carrier::Quic { 0 } else { self.outer_tos(&load.headers) };
        Some(Way {
            carrier,
            to: peer.endpoint(network.layer).unwrap_or(NOWHERE),
            from: peer.local,
            entropy,
            room,
            flow,
            tos,
            peer: to,
            network: load.network,
            relayed_from: match load.ingress {
                Ingress::Device => None,
                Ingress::Peer(peer) => Some(peer),
            },
        })
    }
}

/// The largest frame or packet that the network allows and the path takes.
pub(super) fn max_packet(network: &Network, peer: &Peer, headers: &Headers) -> usize {
    (usize::from(headers.l3_start) + usize::from(network.mtu)).min(peer.inner_max(network.layer))
}

/// Cuts the load into segments, each with its outer headers in front.
fn cut(
    outer: &Outer,
    load: &mut Load,
    max_packet: usize,
    memory: &mut Memory,
    segments: &mut Vec<(Piece, Piece)>,
) -> Result<(), CutError> {
    let plan = Cut::plan(memory.bytes(load.packet), &load.headers, load.vnet, max_packet)?;
    segments.clear();
    if plan.header_len() == 0 {
        plan.finish_in_place(memory.bytes_mut(load.packet));
        load.vnet = VnetHeader::default();
        let head = put_in_front(outer, load.packet, memory).ok_or(CutError::TooManySegments)?;
        segments.push((head, load.packet));
        return Ok(());
    }
    if plan.header_len() <= HEADER_MAX && plan.front(outer.len()) <= load.front {
        cut_in_place(outer, &plan, load.packet, memory, segments);
        return Ok(());
    }
    let head_len = outer.len() + plan.header_len();
    if memory.header_room() < head_len * plan.count() {
        return Err(CutError::TooManySegments);
    }
    for index in 0..plan.count() {
        let head = memory.take_header(head_len).ok_or(CutError::TooManySegments)?;
        let (bytes, original) = memory.header_and_source(head, load.packet);
        let payload = plan.segment(index, original, &mut bytes[outer.len()..]);
        outer.write(bytes, &original[payload.clone()]);
        segments.push((head, load.packet.part(payload.start, payload.len())));
    }
    Ok(())
}

/// Lays the segments out one behind the other, each with its outer headers. Gathering them from
/// pieces would cost the kernel more than moving the payload costs here, where it is summed anyway.
fn cut_in_place(
    outer: &Outer,
    plan: &Cut,
    packet: Piece,
    memory: &mut Memory,
    segments: &mut Vec<(Piece, Piece)>,
) {
    let header_len = plan.header_len();
    let mut header = [0; HEADER_MAX];
    let header = &mut header[..header_len];
    header.copy_from_slice(memory.bytes(packet.part(0, header_len)));
    let room = packet.extend_front(plan.front(outer.len()));
    let bytes = memory.bytes_mut(room);
    for index in 0..plan.count() {
        let segment = plan.segment_in_place(index, header, bytes, outer.len());
        outer.write(&mut bytes[segment.clone()], &[]);
        let (head_len, piece) = (outer.len() + header_len, room.part(segment.start, segment.len()));
        segments.push((piece.part(0, head_len), piece.skip(head_len)));
    }
}

/// Writes the outer headers of a packet that stays as it is: right in front of it, or where there
/// is room for them.
pub(super) fn put_in_front(outer: &Outer, packet: Piece, memory: &mut Memory) -> Option<Piece> {
    if outer.is_empty() {
        return Some(packet.part(0, 0));
    }
    if outer.fits_in_place() {
        let head = packet.extend_front(outer.len()).part(0, outer.len());
        outer.write(memory.bytes_mut(head), &[]);
        return Some(head);
    }
    let head = memory.take_header(outer.len())?;
    let (head_bytes, body) = memory.header_and_source(head, packet);
    outer.write(head_bytes, body);
    Some(head)
}

/// Lowers the MSS option of a SYN to what fits (RFC 6691: without IP and TCP options).
///
/// A partial checksum stays partial, also where nothing says so: a kernel peer on this machine
/// may have left it.
pub(super) fn clamp_mss(
    packet: Piece,
    headers: &Headers,
    max_packet: usize,
    needs_checksum: bool,
    memory: &mut Memory,
) {
    let L4::Tcp { flags, .. } = headers.l4 else { return };
    if flags & tcp::flag::SYN == 0 {
        return;
    }
    // cold: once a connection.
    let mtu = max_packet.saturating_sub(headers.l3_start.into());
    let headers_len = match headers.source_ip() {
        Some(IpAddr::V6(_)) => 40 + 20,
        Some(IpAddr::V4(_)) | None => 20 + 20,
    };
    let max_mss = mtu.saturating_sub(headers_len) as u16;
    let bytes = memory.bytes_mut(packet);
    let is_partial = needs_checksum || checksum::verify_transport(bytes, headers) == Check::Partial;
    tcp::clamp_mss(bytes, headers, max_mss, is_partial);
}
