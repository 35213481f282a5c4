//! The last step to the device: by way of the coalescer, or cut where the device takes no GSO
//! packets.

use super::carry::{clamp_mss, max_packet};
use super::{Node, Output};
use crate::buffer::{Memory, Piece};
use crate::drops::DropReason;
use crate::frame::Headers;
use crate::frame::checksum::Check;
use crate::offload::{Cut, DeviceWrite, Gso, VnetHeader};
use crate::peer::{NetworkId, PeerId};

/// A packet for the device.
pub(super) struct Delivery {
    pub(super) packet: Piece,
    pub(super) headers: Headers,
    pub(super) gso: Gso,
    /// What its transport checksum is.
    pub(super) check: Check,
    /// The same bytes are on their way to other peers.
    pub(super) is_shared: bool,
    /// Wire packets that it stands for.
    pub(super) packets: u64,
}

impl Node {
    pub(super) fn deliver(
        &mut self,
        id: NetworkId,
        from: PeerId,
        delivery: &Delivery,
        memory: &mut Memory,
        out: &mut Output,
    ) -> Result<(), DropReason> {
        let Delivery { packet, headers, gso, check, is_shared, packets } = delivery;
        let network = self.networks.at_mut(id).ok_or(DropReason::UnknownVni)?;
        network.to_device.count(*packets, packet.len as usize);
        if network.mss_clamp
            && let Some(peer) = self.peers.live(from)
        {
            let max_packet = max_packet(network, peer, headers);
            clamp_mss(*packet, headers, max_packet, false, memory);
        }
        match gso {
            Gso::None => {
                network.invalid_checksums += u64::from(*check == Check::Invalid);
                match is_shared {
                    true => network.coalescer.push_alone(*packet, headers, *check),
                    false => {
                        network.coalescer.push(memory, *packet, headers, network.layer, *check);
                    }
                }
            }
            Gso::Tcp { .. } | Gso::Udp { .. } if network.coalescer.takes(*gso) => {
                network.coalescer.push_super(memory, *packet, headers, network.layer, *gso);
            }
            Gso::Tcp { .. } | Gso::Udp { .. } => {
                // What came before it is written before it.
                network.finish(memory, out);
                write_segments(id, delivery, memory, out)?;
            }
        }
        Ok(())
    }
}

/// Writes a received GSO packet segment by segment.
fn write_segments(
    network: NetworkId,
    delivery: &Delivery,
    memory: &mut Memory,
    out: &mut Output,
) -> Result<(), DropReason> {
    let Delivery { packet, headers, gso, .. } = delivery;
    let vnet = VnetHeader::of(headers, *gso);
    let plan = Cut::plan(memory.bytes(*packet), headers, vnet, usize::MAX)?;
    if plan.header_len() == 0 {
        plan.finish_in_place(memory.bytes_mut(*packet));
        write(network, &[*packet], out);
        return Ok(());
    }
    for index in 0..plan.count() {
        let head = memory.take_header(plan.header_len()).ok_or(DropReason::TooManySegments)?;
        let (bytes, original) = memory.header_and_source(head, *packet);
        let payload = plan.segment(index, original, bytes);
        write(network, &[head, packet.part(payload.start, payload.len())], out);
    }
    Ok(())
}

fn write(network: NetworkId, pieces: &[Piece], out: &mut Output) {
    let first = out.pieces.len() as u32;
    out.pieces.extend_from_slice(pieces);
    out.writes.push(DeviceWrite {
        vnet: VnetHeader::default(),
        pieces: first..out.pieces.len() as u32,
        len: pieces.iter().map(|piece| piece.len).sum(),
        packets: 1,
        network,
    });
}
