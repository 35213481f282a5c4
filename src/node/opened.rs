//! Inbound, what WireGuard opened: IP packets of an authenticated peer.
//!
//! A packet between the tunnel addresses of both ends is VXLAN, with a frame in it; any other
//! belongs to the peer's network of packets. From there on it takes the steps of `inbound.rs`.

use std::time::Instant;

use super::inbound::Run;
use super::{Node, Output};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::frame::{Layer, ecn, vxlan};
use crate::offload::Gso;
use crate::peer::{NetworkId, PeerId};
use crate::transport::Carrier;
use crate::transport::wireguard;

/// What a packet from WireGuard is.
struct Found {
    network: NetworkId,
    packet: Piece,
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
        opened: &wireguard::Run,
        packets: &[Piece],
        memory: &mut Memory,
        out: &mut Output,
    ) {
        let mut run: Option<Run> = None;
        for &packet in packets {
            let found = match self.find(opened, packet, memory) {
                Ok(found) => found,
                Err(reason) => {
                    self.count_drop(None, Some(opened.peer), reason, 1);
                    continue;
                }
            };
            let Found { network, packet, tos, has_vxlan } = found;
            if run.as_ref().is_none_or(|run| run.network != network || run.tos != tos) {
                let Some(network) = self.networks.at(network) else { continue };
                run = Some(Run::new(opened.peer, network, tos, opened.local, has_vxlan));
            }
            let Some(run) = &mut run else { continue };
            if self.continues(run, packet, memory) {
                continue;
            }
            run.begin();
            let result = self.inbound_packet(now, run, packet, None, Gso::None, memory, out);
            if let Err(reason) = result {
                self.count_drop(Some(network), Some(opened.peer), reason, run.packets);
            }
        }
    }

    /// Says which network a packet belongs to, and where in it the frame or packet is.
    fn find(
        &self,
        opened: &wireguard::Run,
        packet: Piece,
        memory: &Memory,
    ) -> Result<Found, DropReason> {
        let peer = self.peers.live(opened.peer).ok_or(DropReason::UnknownPeer)?;
        let bytes = memory.bytes(packet);
        let Some((at, tos)) = peer.tunnel().and_then(|ips| ips.decapsulate(bytes)) else {
            let network = self.packet_network(opened.peer).ok_or(DropReason::WireGuardContent)?;
            return Ok(Found { network, packet, tos: opened.tos, has_vxlan: false });
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
        Ok(Found { network, packet, tos, has_vxlan: true })
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
