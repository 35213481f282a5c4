//! What a device gives in one read: packets, GSO packets, and offload headers that lie.

use tunctl::frame::Layer;
use tunctl::offload::VnetHeader;

use super::packet::Plan;
use super::reference::{self, Checksum, TCP};
use super::source::Source;
use super::world::PEERS;

const NEEDS_CSUM: u8 = 1;

/// Draws a packet and the header in front of it.
pub fn draw(source: &mut Source, layer: Layer) -> (Vec<u8>, VnetHeader) {
    let mut plan = Plan::draw_flow(source, layer, PEERS);
    let kind = source.below(8);
    match kind {
        0 => plan.payload_len = source.pick(&[0, 1, 100, 1400, 1432, 2000, 9000]),
        1 | 2 => {
            plan.payload_len = source.pick(&[0, 3, 1000, 1400, 5000]);
            plan.checksum = Checksum::Partial;
        }
        _ => {
            plan.payload_len = source.between(1, 64_000);
            plan.checksum = Checksum::Partial;
            plan.flags = source.pick(&[0x10, 0x18, 0x19, 0x90, 0x02]);
        }
    }
    if source.one_in(4) {
        plan.draw_oddity(source);
    }
    let mut bytes = plan.build();
    let mut vnet = VnetHeader::default();
    if let Some(at) = reference::parse(&bytes, layer == Layer::L2, true)
        && kind > 0
    {
        vnet.flags = NEEDS_CSUM;
        vnet.csum_start = at.l4 as u16;
        vnet.csum_offset = if at.protocol == TCP { 16 } else { 6 };
        vnet.hdr_len = at.payload as u16;
        if kind > 2 {
            vnet.gso_type = match (at.protocol == TCP, at.is_v6) {
                (false, _) => 5,
                (true, false) => 1,
                (true, true) => 4,
            };
            vnet.gso_size = source.pick(&[1448, 1400, 1208, 536, 64, 1]);
        }
    }
    if source.one_in(6) {
        spoil(&mut bytes, &mut vnet, source);
    }
    (bytes, vnet)
}

fn spoil(bytes: &mut Vec<u8>, vnet: &mut VnetHeader, source: &mut Source) {
    let odd = source.pick(&[0, 1, 7, 14, 20, 0xffff]);
    match source.below(9) {
        0 => vnet.flags = source.byte(),
        1 => vnet.gso_type = source.byte(),
        2 => vnet.hdr_len = odd,
        3 => vnet.gso_size = source.u16(),
        4 => vnet.csum_start = odd,
        5 => vnet.csum_offset = odd,
        6 => bytes.truncate(source.below(bytes.len() + 1)),
        7 => {
            let at = source.below(bytes.len().min(100));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = source.byte();
            }
        }
        _ => {
            let mut raw = [0; VnetHeader::LEN];
            source.fill(&mut raw);
            *vnet = VnetHeader::from_bytes(raw);
        }
    }
}
