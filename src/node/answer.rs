//! Too large for the path or the network: fragments where IPv4 allows them, else an ICMP answer
//! to where the packet came from (RFC 1191, RFC 8201). A counted drop in every other case.

use std::time::Instant;

use super::carry::{Load, put_in_front};
use super::{Node, Output};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::forward::Ingress;
use crate::frame::{Headers, icmp, ipv4, vxlan};
use crate::offload::{Cut, DeviceWrite, VnetHeader};
use crate::peer::PeerId;
use crate::transport::outer::Outer;

impl Node {
    /// Deals with a load that does not fit into `max_packet` bytes on the way to a peer.
    pub(super) fn too_big(
        &mut self,
        now: Instant,
        load: &mut Load,
        to: PeerId,
        max_packet: usize,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        if self.fragment(load, to, max_packet, memory, out) {
            return Ok(());
        }
        // The answer comes from the destination's address, and whoever gets it learns that the
        // destination is over here. Of a flood nobody knows that.
        let network = self.networks.at(load.network).ok_or(DropReason::UnknownVni)?;
        if network.forwarding.is_at(&load.headers, to, now) {
            self.answer_too_big(now, load, max_packet, memory, out);
        }
        Err(DropReason::TooBig)
    }

    /// Sends the load in fragments; false where it cannot be fragmented.
    fn fragment(
        &mut self,
        load: &mut Load,
        to: PeerId,
        max_packet: usize,
        memory: &mut Memory,
        out: &mut Output,
    ) -> bool {
        let Some(network) = self.networks.at(load.network) else { return false };
        let Some(peer) = self.peers.live(to) else { return false };
        let outer = network.outer(peer, &load.headers, self.outer_tos(&load.headers));
        let Some(way) = self.way(load, to) else { return false };
        let (bytes, headers) = (memory.bytes_mut(load.packet), &load.headers);
        let Some(plan) = ipv4::Fragments::plan(bytes, headers, max_packet) else { return false };
        // The checksum covers all fragments, so it is completed before.
        let whole = Cut::plan(bytes, headers, load.vnet, usize::MAX);
        let Some(whole) = whole.ok().filter(|whole| whole.header_len() == 0) else { return false };
        whole.finish_in_place(bytes);
        load.vnet = VnetHeader::default();
        let head_len = outer.len() + plan.header_len();
        if memory.header_room() < head_len * plan.count() {
            return false;
        }
        for index in 0..plan.count() {
            let Some(head) = memory.take_header(head_len) else { return false };
            let (bytes, original) = memory.header_and_source(head, load.packet);
            let payload = plan.fragment(index, original, &mut bytes[outer.len()..]);
            outer.write(bytes, &original[payload.clone()]);
            out.send(&way, head, load.packet.part(payload.start, payload.len()));
        }
        if let Some(peer) = self.peers.live_mut(to) {
            peer.sent.count(plan.count() as u64, load.packet.len as usize);
        }
        true
    }

    /// Builds the ICMP error and sends it back to the side that the load came from, as often as
    /// the network answers.
    fn answer_too_big(
        &mut self,
        now: Instant,
        load: &Load,
        max_packet: usize,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        let mtu = max_packet.saturating_sub(load.headers.l3_at());
        if load.headers.end_at() - load.headers.l3_at() <= mtu {
            // The packet would fit, what stands behind it does not: no MTU could help its sender.
            return;
        }
        let Some(room) = memory.take_header(vxlan::HEADER_LEN + icmp::LEN_MAX) else { return };
        let body = room.skip(vxlan::HEADER_LEN);
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let (bytes, original) = memory.header_and_source(body, load.packet);
        let Some(len) = icmp::too_big(original, &load.headers, mtu, bytes) else { return };
        let answer = body.part(0, len);
        let Some(network) = self.networks.at_mut(load.network) else { return };
        if !network.answers.take(1, now) {
            return;
        }
        match load.ingress {
            Ingress::Device => self.answer_to_device(load, answer, out),
            Ingress::Peer(peer) => self.answer_to_peer(load, peer, answer, memory, out),
        }
    }

    fn answer_to_device(&mut self, load: &Load, answer: Piece, out: &mut Output) {
        let first = out.pieces.len() as u32;
        out.pieces.push(answer);
        out.writes.push(DeviceWrite {
            vnet: VnetHeader::default(),
            pieces: first..first + 1,
            len: answer.len,
            packets: 1,
            network: load.network,
        });
    }

    fn answer_to_peer(
        &mut self,
        load: &Load,
        peer: PeerId,
        answer: Piece,
        memory: &mut Memory,
        out: &mut Output,
    ) {
        let Some(network) = self.networks.at(load.network) else { return };
        let Ok(headers) = Headers::parse(memory.bytes(answer), network.layer) else { return };
        let Some(to) = self.peers.live(peer) else { return };
        let outer = network.outer(to, &headers, self.outer_tos(&headers));
        let head = match outer.fits_in_place() {
            true => put_in_front(&outer, answer, memory),
            // Both lie in the header area, which one cannot be built from the other in.
            false => put_copied(&outer, answer, memory),
        };
        let Some(head) = head else { return };
        let load = Load {
            network: load.network,
            packet: answer,
            headers,
            vnet: VnetHeader::default(),
            ingress: Ingress::Device,
            front: 0,
        };
        let Some(way) = self.way(&load, peer) else { return };
        out.send(&way, head, answer);
        if let Some(peer) = self.peers.live_mut(peer) {
            peer.sent.count(1, answer.len as usize);
        }
    }
}

/// Writes the outer headers of a packet that lies in the header area itself.
fn put_copied(outer: &Outer, packet: Piece, memory: &mut Memory) -> Option<Piece> {
    let head = memory.take_header(outer.len())?;
    let body = memory.bytes(packet).to_vec();
    outer.write(memory.bytes_mut(head), &body);
    Some(head)
}
