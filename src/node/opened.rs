//! Inbound, what WireGuard or QUIC opened: packets of an authenticated peer.
//!
//! From QUIC each begins with a VXLAN or VXLAN-GPE header. From WireGuard they are IP packets:
//! one between the tunnel addresses of both ends is VXLAN, with a frame in it; any other
//! belongs to the peer's network of packets. From there on it takes the steps of `inbound.rs`.

use std::time::Instant;

use super::inbound::Run;
use super::{Node, Output};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::frame::vxlan::Next;
use crate::frame::{Layer, ecn, vxlan};
use crate::offload::Gso;
use crate::peer::{NetworkId, PeerId};
use crate::transport::Carrier;
use crate::transport::opened;

/// What a packet is.
struct Found {
    network: NetworkId,
    packet: Piece,
    next: Option<Next>,
    tos: u8,
    has_vxlan: bool,
}

impl Node {
    /// Takes packets of one peer that arrived together and were opened in their places.
    ///
    /// As with [`Node::handle_received`], the slots must stay as they are until the output is
    /// flushed.
    pub fn handle_opened(
        &mut self,
        now: Instant,
        opened: &opened::Run,
        packets: &[Piece],
        memory: &mut Memory,
        out: &mut Output,
    ) {
        self.handle_found(now, opened, packets, Self::find, memory, out);
    }

    /// As [`Node::handle_opened`], for packets behind a VXLAN or VXLAN-GPE header.
    pub fn handle_datagrams(
        &mut self,
        now: Instant,
        opened: &opened::Run,
        packets: &[Piece],
        memory: &mut Memory,
        out: &mut Output,
    ) {
        self.handle_found(now, opened, packets, Self::find_behind_header, memory, out);
    }

    fn handle_found(
        &mut self,
        now: Instant,
        opened: &opened::Run,
        packets: &[Piece],
        find: impl Fn(&Self, &opened::Run, Piece, &Memory) -> Result<Found, DropReason>,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        let mut run: Option<Run> = None;
        for &packet in packets {
            if let Some(run) = &run
                && run.has_vxlan
                && packet.len as usize > vxlan::HEADER_LEN
                && self.continues(run, packet.skip(vxlan::HEADER_LEN), memory)
            {
                continue;
            }
            let found = match find(self, opened, packet, memory) {
                Ok(found) => found,
                Err(reason) => {
                    self.count_drop(None, Some(opened.peer), reason, 1);
                    continue;
                }
            };
            let Found { network, packet, next, tos, has_vxlan } = found;
            if run.as_ref().is_none_or(|run| run.network != network || run.tos != tos) {
                let Some(network) = self.networks.at(network) else { continue };
                run = Some(Run::new(opened.peer, network, tos, opened.local, has_vxlan));
            }
            let Some(run) = &mut run else { continue };
            if self.continues(run, packet, memory) {
                continue;
            }
            run.begin();
            let result = self.inbound_packet(now, run, packet, next, Gso::None, memory, out);
            if let Err(reason) = result {
                self.count_drop(Some(network), Some(opened.peer), reason, run.packets);
            }
        }
    }

    /// Says which network a packet belongs to, and where in it the frame or packet is.
    fn find(
        &self,
        opened: &opened::Run,
        packet: Piece,
        memory: &Memory,
    ) -> Result<Found, DropReason> {
        let peer = self.peers.live(opened.peer).ok_or(DropReason::UnknownPeer)?;
        let bytes = memory.bytes(packet);
        let Some((at, tos)) = peer.tunnel().and_then(|ips| ips.decapsulate(bytes)) else {
            let network = self.packet_network(opened.peer).ok_or(DropReason::WireGuardContent)?;
            return Ok(Found { network, packet, next: None, tos: opened.tos, has_vxlan: false });
        };
        let datagram = packet.skip(at);
        let vni = vxlan::decode(memory.bytes(datagram))?;
        let network = self.networks.by_vni(Carrier::Vxlan, vni).ok_or(DropReason::UnknownVni)?;
        if !peer.networks.contains(&network) {
            return Err(DropReason::PeerNotInNetwork);
        }
        let packet = datagram.skip(vxlan::HEADER_LEN);
        // Marks of the outer header go into the tunnel's, and from there into the frame's.
        let tos = ecn::decapsulate(opened.tos, tos)?;
        Ok(Found { network, packet, next: None, tos, has_vxlan: true })
    }

    /// Says which network a packet belongs to by the header in front of it, whose flags say whether
    /// it is VXLAN or VXLAN-GPE.
    fn find_behind_header(
        &self,
        opened: &opened::Run,
        datagram: Piece,
        memory: &Memory,
    ) -> Result<Found, DropReason> {
        let peer = self.peers.live(opened.peer).ok_or(DropReason::UnknownPeer)?;
        let bytes = memory.bytes(datagram);
        let (carrier, vni, next) = match vxlan::decode_gpe(bytes) {
            Ok((vni, next)) => (Carrier::VxlanGpe, vni, Some(next)),
            Err(_) => (Carrier::Vxlan, vxlan::decode(bytes)?, None),
        };
        let network = self.networks.by_vni(carrier, vni).ok_or(DropReason::UnknownVni)?;
        if !peer.networks.contains(&network) {
            return Err(DropReason::PeerNotInNetwork);
        }
        let packet = datagram.skip(vxlan::HEADER_LEN);
        Ok(Found { network, packet, next, tos: 0, has_vxlan: true })
    }

    /// The network that a peer's packets belong to: its only one of this layer.
    fn packet_network(&self, peer: PeerId) -> Option<NetworkId> {
        let peer = self.peers.live(peer)?;
        let is_l3 = |id: &&NetworkId| {
            self.networks.at(**id).is_some_and(|network| network.layer == Layer::L3)
        };
        peer.networks.iter().find(is_l3).copied()
    }
}
