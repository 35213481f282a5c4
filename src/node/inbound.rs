//! Underlay to device: what one receive call gave, from the datagrams to the device write.
//!
//! 1. Who sent it: the peer of the source address.
//! 2. Which network: the VNI of the first header, and whether the peer is in it.
//! 3. What is this buffer: one datagram, a run of them, or a kernel peer's GSO packet.
//!
//! Then for each inner packet:
//!
//! 4. Parse it.
//! 5. Congestion marks: the outer header's go into the inner one (RFC 6040).
//! 6. Never take in the tunnel itself.
//! 7. May the peer send from this address: check, then learn, once per run of equal sources.
//! 8. Where does it go.
//! 9. Is its checksum right, or left to be finished.
//! 10. To other peers, where this node relays: `carry.rs`.
//! 11. To the device, by way of the coalescer.

use std::net::IpAddr;
use std::time::Instant;

use super::carry::Load;
use super::deliver::Delivery;
use super::{Network, Node, Output};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::forward::{Ingress, Verdict};
use crate::frame::checksum::{self, Check};
use crate::frame::vxlan::{self, Next};
use crate::frame::{Headers, L4, Layer, Net, ecn, hop_limit};
use crate::offload::{Buffer, Gso, VnetHeader, classify};
use crate::peer::{NetworkId, PeerId, Vni};
use crate::transport::{Carrier, Received};

/// What all datagrams of one receive buffer have in common.
pub(super) struct Run {
    pub(super) peer: PeerId,
    pub(super) network: NetworkId,
    layer: Layer,
    pub(super) tos: u8,
    local: Option<IpAddr>,
    /// Whether a VXLAN header stands in front of each packet.
    pub(super) has_vxlan: bool,
    /// The last packet whose source was checked and learned.
    learned: Option<Headers>,
    /// The last packet went to the device and nowhere else, after these bytes (zeros for none).
    outer: Option<[u8; vxlan::HEADER_LEN]>,
    /// Wire packets that the packet in hand stands for, for the counters.
    pub(super) packets: u64,
}

impl Run {
    /// Begins one.
    pub(super) fn new(
        peer: PeerId,
        network: &Network,
        tos: u8,
        local: Option<IpAddr>,
        has_vxlan: bool,
    ) -> Self {
        Self {
            peer,
            network: network.id,
            layer: network.layer,
            tos,
            local: local.filter(|local| !local.is_multicast()),
            has_vxlan,
            learned: None,
            outer: None,
            packets: 1,
        }
    }

    /// Turns to the next datagram.
    pub(super) fn begin(&mut self) {
        self.packets = 1;
        self.outer = None;
    }

    /// What stands in front of a packet, to know the next of its kind by.
    fn outer_of(&self, packet: Piece, memory: &Memory) -> Option<[u8; vxlan::HEADER_LEN]> {
        if !self.has_vxlan {
            return Some([0; vxlan::HEADER_LEN]);
        }
        let outer = packet.extend_front(vxlan::HEADER_LEN);
        memory.bytes(outer).first_chunk().copied()
    }
}

impl Node {
    /// Takes what one receive call put into a slot.
    ///
    /// The output points into the memory, and packets may wait in the coalescer until
    /// [`Node::finish_batch`]: the slot must stay as it is until the output is flushed.
    pub fn handle_received(
        &mut self,
        now: Instant,
        received: &Received,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        if let Err(drop) = self.inbound(now, received, memory, out) {
            self.count_drop(drop.network, drop.peer, drop.reason, received.datagrams());
        }
    }

    fn inbound(
        &mut self,
        now: Instant,
        received: &Received,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        // 1. Who sent it.
        let refuse = |reason| Refusal { reason, network: None, peer: None };
        if received.truncated {
            return Err(refuse(DropReason::DatagramTruncated));
        }
        let peer = self.peers.by_address(received.from.ip());
        let peer = peer.ok_or(refuse(DropReason::UnknownPeer))?;
        // 2. Which network.
        let refuse = |reason| Refusal { reason, network: None, peer: Some(peer) };
        let buffer = memory.bytes(received.piece);
        let (vni, _) = decode(buffer, received.carrier).map_err(refuse)?;
        let id = self.networks.by_vni(received.carrier, vni);
        let id = id.ok_or(refuse(DropReason::UnknownVni))?;
        let network = self.networks.at(id).ok_or(refuse(DropReason::UnknownVni))?;
        let known = self.peers.live(peer).ok_or(refuse(DropReason::UnknownPeer))?;
        if !known.networks.contains(&id) {
            let reason = DropReason::PeerNotInNetwork;
            return Err(Refusal { reason, network: Some(id), peer: Some(peer) });
        }
        // 3. What is this buffer.
        let mut run = Run::new(peer, network, received.tos, received.local, true);
        match classify(buffer, received.stride, network.layer, network.mtu) {
            Buffer::Super { gso } => {
                self.inbound_datagram(
                    now,
                    &mut run,
                    received,
                    received.piece,
                    vni,
                    gso,
                    memory,
                    out,
                );
            }
            Buffer::Unclear => {
                return Err(Refusal {
                    reason: DropReason::Malformed,
                    network: Some(id),
                    peer: Some(peer),
                });
            }
            Buffer::Datagrams { stride } => {
                let len = received.piece.len as usize;
                for start in (0..len).step_by(stride.max(1)) {
                    let datagram = received.piece.part(start, stride.min(len - start));
                    if datagram.len as usize >= vxlan::HEADER_LEN
                        && self.continues(&run, datagram.skip(vxlan::HEADER_LEN), memory)
                    {
                        continue;
                    }
                    let gso = Gso::None;
                    self.inbound_datagram(now, &mut run, received, datagram, vni, gso, memory, out);
                }
            }
        }
        Ok(())
    }

    /// Takes a packet that continues the last one's stream: all that steps 4 to 11 look at is the
    /// same. `false`: it takes these steps.
    #[inline]
    pub(super) fn continues(&mut self, run: &Run, packet: Piece, memory: &Memory) -> bool {
        if run.outer.is_none() || run.outer_of(packet, memory) != run.outer {
            return false;
        }
        let Some(network) = self.networks.at_mut(run.network) else { return false };
        if !network.coalescer.extend(memory, packet) {
            return false;
        }
        network.to_device.count(1, packet.len as usize);
        if let Some(peer) = self.peers.live_mut(run.peer) {
            peer.received.count(1, packet.len as usize);
            peer.checksums.note_finished();
        }
        true
    }

    /// One datagram: its own VXLAN header must be the run's, then the packet goes its way.
    #[expect(clippy::too_many_arguments, reason = "the run, the datagram, and where it goes")]
    fn inbound_datagram(
        &mut self,
        now: Instant,
        run: &mut Run,
        received: &Received,
        datagram: Piece,
        vni: Vni,
        gso: Gso,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        run.begin();
        let result = decode(memory.bytes(datagram), received.carrier).and_then(|(own, next)| {
            if own != vni {
                return Err(DropReason::VxlanMixed);
            }
            let packet = datagram.skip(vxlan::HEADER_LEN);
            self.inbound_packet(now, run, packet, next, gso, memory, out)
        });
        if let Err(reason) = result {
            self.count_drop(Some(run.network), Some(run.peer), reason, run.packets);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the run, the packet, and where it goes")]
    pub(super) fn inbound_packet(
        &mut self,
        now: Instant,
        run: &mut Run,
        packet: Piece,
        next: Option<Next>,
        gso: Gso,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        // 4. Parse it.
        let bytes = memory.bytes(packet);
        let headers = match gso {
            Gso::None => Headers::parse(bytes, run.layer),
            Gso::Tcp { .. } | Gso::Udp { .. } => Headers::parse_super(bytes, run.layer),
        };
        let mut headers = headers?;
        if next.is_some_and(|next| !is_next(next, &headers)) {
            return Err(DropReason::VxlanNextProtocol);
        }
        run.packets = gso.packets(&headers);
        let peer = self.peers.live_mut(run.peer).ok_or(DropReason::UnknownPeer)?;
        peer.received.count(run.packets, bytes.len());
        // 5. Congestion marks.
        if run.tos != 0 {
            mark_congestion(run.tos, memory.bytes_mut(packet), &mut headers)?;
        }
        // 6. Never take in the tunnel itself.
        if self.own_endpoints.is_destination(&headers, run.local) {
            return Err(DropReason::OwnEndpoint);
        }
        // 7. May the peer send from this address.
        let network = self.networks.at_mut(run.network).ok_or(DropReason::UnknownVni)?;
        let ingress = Ingress::Peer(run.peer);
        if !run.learned.is_some_and(|last| has_same_source(&last, &headers)) {
            if run.layer == Layer::L2 && !peer.allows(memory.bytes(packet), &headers) {
                return Err(DropReason::SourceNotAllowed);
            }
            network.forwarding.learn(&headers, ingress, now)?;
            run.learned = Some(headers);
            // What is refused says nothing about the peer.
            peer.last_received = Some(now);
            peer.local = run.local;
        }
        // 8. Where does it go.
        let verdict = network.forwarding.verdict(&headers, ingress, run.packets, now);
        // 9. Is its checksum right.
        let bytes = memory.bytes(packet);
        let check = match verdict {
            _ if gso != Gso::None => Check::Partial,
            Verdict::Device | Verdict::Flood { device: true } => {
                network.coalescer.check(bytes, &headers)
            }
            _ => checksum::glance(bytes, &headers),
        };
        let mut check = peer.checksums.judge(now, check, gso);
        // 10. To other peers.
        let vnet = VnetHeader::default();
        let network = run.network;
        let mut load = Load { network, packet, headers, vnet, ingress, front: 0 };
        let (mut gso, is_shared) = (gso, verdict != Verdict::Device);
        if is_shared {
            load.vnet = received_vnet(&headers, gso, check);
            let relayed = self.relay(now, &mut load, verdict, memory, out);
            if verdict != (Verdict::Flood { device: true }) {
                return relayed;
            }
            if let Err(reason) = relayed {
                self.count_drop(Some(run.network), Some(run.peer), reason, run.packets);
            }
            gso = load.vnet.gso()?;
            // It may have been finished for the peers.
            if check == Check::Partial && !load.vnet.needs_checksum() {
                check = Check::Valid;
            }
        }
        // 11. To the device.
        if !is_shared && gso == Gso::None {
            run.outer = run.outer_of(packet, memory);
        }
        let delivery = Delivery { packet, headers, gso, check, is_shared, packets: run.packets };
        self.deliver(run.network, run.peer, &delivery, memory, out)
    }

    /// Sends what came from a peer to other peers. A packet loses a hop, so that none goes round
    /// for ever.
    fn relay(
        &mut self,
        now: Instant,
        load: &mut Load,
        verdict: Verdict,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        if let Verdict::Drop(reason) = verdict {
            return Err(reason);
        }
        if load.headers.link.is_none() {
            hop_limit::decrement(memory.bytes_mut(load.packet), &load.headers)?;
        }
        self.carry(now, load, verdict, memory, out)
    }
}

/// Why a whole receive buffer was refused, and whose counters it concerns.
struct Refusal {
    reason: DropReason,
    network: Option<NetworkId>,
    peer: Option<PeerId>,
}

/// What a vnet_hdr would say of a received packet: a kernel peer on this machine may leave a
/// checksum to be finished.
fn received_vnet(headers: &Headers, gso: Gso, check: Check) -> VnetHeader {
    match check {
        Check::Partial => VnetHeader::of(headers, gso),
        Check::Valid | Check::Invalid | Check::Absent | Check::Unread => VnetHeader::default(),
    }
}

fn decode(datagram: &[u8], carrier: Carrier) -> Result<(Vni, Option<Next>), DropReason> {
    match carrier {
        Carrier::Vxlan => vxlan::decode(datagram).map(|vni| (vni, None)),
        Carrier::VxlanGpe => vxlan::decode_gpe(datagram).map(|(vni, next)| (vni, Some(next))),
        // Sealed: it is opened before it comes to the node.
        Carrier::WireGuard => Err(DropReason::WireGuardMalformed),
        Carrier::Quic => Err(DropReason::QuicMalformed),
    }
}

/// Takes the outer ECN into the inner header (RFC 6040).
fn mark_congestion(outer: u8, bytes: &mut [u8], headers: &mut Headers) -> Result<(), DropReason> {
    let inner = headers.tos();
    let tos = match &mut headers.net {
        Net::V4(info) => &mut info.tos,
        Net::V6(info) => &mut info.tos,
        Net::Arp(_) | Net::Other => return Ok(()),
    };
    *tos = ecn::decapsulate(outer, inner)?;
    let marked = *tos;
    if marked != inner {
        ecn::set_tos(bytes, headers, marked);
    }
    Ok(())
}

fn is_next(next: Next, headers: &Headers) -> bool {
    matches!((next, headers.net), (Next::Ipv4, Net::V4(_)) | (Next::Ipv6, Net::V6(_)))
}

/// Whether two packets claim the same addresses, so that checking one was checking both.
fn has_same_source(one: &Headers, other: &Headers) -> bool {
    let link = |headers: &Headers| headers.link.map(|link| (link.src, link.vlan));
    // ARP and neighbour discovery make claims in their payload: each is checked.
    !matches!(other.net, Net::Arp(_))
        && !matches!(other.l4, L4::Icmp6 { .. })
        && link(one) == link(other)
        && one.source_ip() == other.source_ip()
}
