//! Device to underlay: one GSO packet, from the read to the datagrams.
//!
//! 1. What is it: parse the headers once.
//! 2. Never carry the tunnel itself.
//! 3. Learn who stands behind our own device.
//! 4. Where does it go: one verdict for all its segments.
//! 5. Cut, encapsulate and queue it for each destination: `carry.rs`.

use std::time::Instant;

use super::carry::Load;
use super::{Node, Output};
use crate::buffer::{HEADROOM, Memory, Piece};
use crate::drops::DropReason;
use crate::forward::Ingress;
use crate::frame::Headers;
use crate::offload::{Gso, VnetHeader};
use crate::peer::NetworkId;

impl Node {
    /// Takes what one read of a device gave: a packet or a GSO packet, and its vnet_hdr.
    ///
    /// `packet` lies in a slot; its headroom is used. The output points into the memory and is
    /// valid until the slot or the header area is used again.
    pub fn handle_device(
        &mut self,
        now: Instant,
        network: NetworkId,
        packet: Piece,
        vnet: VnetHeader,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        let mut packets = 1;
        let load = Raw { network, packet, vnet };
        if let Err(reason) = self.outbound(now, &load, &mut packets, memory, out) {
            self.count_drop(Some(network), None, reason, packets);
        }
    }

    fn outbound(
        &mut self,
        now: Instant,
        raw: &Raw,
        packets: &mut u64,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        let network = self.networks.at_mut(raw.network).ok_or(DropReason::UnknownVni)?;
        // 1. What is it.
        let bytes = memory.bytes(raw.packet);
        let gso = raw.vnet.gso()?;
        let headers = match gso {
            Gso::None => Headers::parse(bytes, network.layer),
            Gso::Tcp { .. } | Gso::Udp { .. } => Headers::parse_super(bytes, network.layer),
        }?;
        *packets = gso.packets(&headers);
        network.from_device.count(*packets, bytes.len());
        // 2. Never carry the tunnel itself.
        if self.own_endpoints.is_destination(&headers, None) {
            return Err(DropReason::OwnEndpoint);
        }
        // 3. Learn who stands behind our own device.
        network.forwarding.learn(&headers, Ingress::Device, now)?;
        // 4. Where does it go.
        let verdict = network.forwarding.verdict(&headers, Ingress::Device, *packets, now);
        // 5. Cut, encapsulate, queue.
        let Raw { network, packet, vnet } = *raw;
        let (ingress, front) = (Ingress::Device, HEADROOM);
        let mut load = Load { network, packet, headers, vnet, ingress, front };
        self.carry(now, &mut load, verdict, memory, out)
    }
}

/// What a device read gave.
struct Raw {
    network: NetworkId,
    packet: Piece,
    vnet: VnetHeader,
}
