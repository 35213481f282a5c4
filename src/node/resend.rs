//! A path that turned out smaller than the datagrams sent on it: each is cut again.

use std::time::Instant;

use super::carry::{Load, max_packet};
use super::{Node, Output};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::forward::{Ingress, Verdict};
use crate::frame::checksum::{Check, verify_transport};
use crate::frame::{Headers, L4};
use crate::offload::{Gso, VnetHeader};
use crate::transport::Transmit;

impl Node {
    /// Takes back one datagram of a transmit that the kernel refused as too large, after
    /// [`Node::handle_path_mtu`]: TCP is cut smaller, the rest is fragmented or answered.
    ///
    /// `datagram` is a copy of it in a slot, from the VXLAN header on; what WireGuard sealed, as it
    /// was before.
    pub fn handle_unsent(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        datagram: Piece,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        let network = self.networks.at(transmit.network);
        let peer = self.peers.live_mut(transmit.peer);
        let Some((network, peer)) = network.zip(peer) else { return };
        let packet = datagram.skip(network.outer_len(peer).min(datagram.len as usize));
        // It was counted when it was queued the first time.
        peer.sent.take_back(packet.len as usize);
        if let Err(reason) = self.resend(now, transmit, packet, memory, out) {
            self.count_drop(Some(transmit.network), Some(transmit.peer), reason, 1);
        }
        out.finish();
    }

    fn resend(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        packet: Piece,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        let network = self.networks.at(transmit.network).ok_or(DropReason::UnknownVni)?;
        let bytes = memory.bytes(packet);
        let headers = Headers::parse(bytes, network.layer)?;
        let ingress = transmit.relayed_from.map_or(Ingress::Device, Ingress::Peer);
        let peer = self.peers.live(transmit.peer).ok_or(DropReason::NoPeers)?;
        let fits = packet.len as usize <= max_packet(network, peer, &headers);
        // A TCP segment may be cut smaller. New segments get new checksums, so one that is wrong
        // already, which a relay passes on, must not become right by it.
        let vnet = match headers.l4 {
            L4::Tcp { .. } if !fits && verify_transport(bytes, &headers) == Check::Valid => {
                let size = headers.end as usize - headers.payload_start();
                let gso = Gso::Tcp { size: size.max(1) as u16 };
                VnetHeader { flags: 0, ..VnetHeader::of(&headers, gso) }
            }
            _ => VnetHeader::default(),
        };
        let network = transmit.network;
        let mut load = Load { network, packet, headers, vnet, ingress, front: 0 };
        self.carry(now, &mut load, Verdict::Peer(transmit.peer), memory, out)
    }
}
