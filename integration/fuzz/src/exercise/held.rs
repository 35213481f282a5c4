//! What the memory's slots held before the node saw them, and where output came from.

use std::ops::Range;

use tunctl::buffer::{HEADER_AREA, HEADROOM, Memory, Piece};
use tunctl::frame::Layer;
use tunctl::offload::{Buffer, Gso, classify};
use tunctl::peer::NetworkId;

use super::reference::{self, Checksum, Vnet};
use super::world::LAYERS;

/// Bytes in front of an inner packet.
pub const VXLAN_LEN: usize = 8;

/// A packet as it was.
pub struct Inner {
    /// In the slot's content.
    pub range: Range<usize>,
    /// Segment size, if it is a GSO packet.
    pub gso: Option<usize>,
    /// Where a checksum is to be finished.
    pub unfinished: Option<usize>,
}

/// One slot's content.
pub struct Held {
    pub piece: Piece,
    pub original: Vec<u8>,
    /// The network that the first header names, or whose device it came from.
    pub network: Option<NetworkId>,
    pub is_from_device: bool,
    pub inner: Vec<Inner>,
}

/// Where a piece of output lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Headers,
    /// Slot, and offset in its content.
    Slot(usize, usize),
}

impl Held {
    /// A packet read from a device.
    pub fn from_device(piece: Piece, bytes: &[u8], network: NetworkId, vnet: Vnet) -> Self {
        let gso = (vnet.gso_type & 0x7f != 0).then_some(vnet.gso_size);
        let unfinished = vnet.needs_csum.then_some(vnet.csum_start + vnet.csum_offset);
        let inner = Inner { range: 0..bytes.len(), gso, unfinished };
        Self {
            piece,
            original: bytes.to_vec(),
            network: Some(network),
            is_from_device: true,
            inner: vec![inner],
        }
    }

    /// A receive buffer.
    pub fn received(
        piece: Piece,
        bytes: &[u8],
        stride: Option<u16>,
        network: Option<(NetworkId, u16)>,
    ) -> Self {
        let mut held = Self {
            piece,
            original: bytes.to_vec(),
            network: network.map(|(id, _)| id),
            is_from_device: false,
            inner: vec![],
        };
        if let Some((id, mtu)) = network {
            held.inner = inner_packets(bytes, stride, LAYERS[id.index()], mtu);
        }
        held
    }

    /// The inner packet that contains an offset.
    pub fn inner_at(&self, offset: usize) -> Option<&Inner> {
        self.inner.iter().find(|inner| inner.range.contains(&offset))
    }
}

fn inner_packets(bytes: &[u8], stride: Option<u16>, layer: Layer, mtu: u16) -> Vec<Inner> {
    match classify(bytes, stride, layer, mtu) {
        Buffer::Unclear => vec![],
        Buffer::Super { gso } => {
            let size = match gso {
                Gso::Tcp { size } | Gso::Udp { size } => Some(size.into()),
                Gso::None => None,
            };
            let range = VXLAN_LEN..bytes.len();
            let unfinished = unfinished(&bytes[range.clone()], layer);
            vec![Inner { range, gso: size, unfinished }]
        }
        Buffer::Datagrams { stride } => {
            assert!(stride > 0, "a stride of nothing never ends");
            (0..bytes.len())
                .step_by(stride)
                .map(|start| {
                    let end = (start + stride).min(bytes.len());
                    let range = (start + VXLAN_LEN).min(end)..end;
                    let unfinished = unfinished(&bytes[range.clone()], layer);
                    Inner { range, gso: None, unfinished }
                })
                .collect()
        }
    }
}

/// Where the checksum of a packet that a kernel peer left unfinished stands.
fn unfinished(packet: &[u8], layer: Layer) -> Option<usize> {
    let at = reference::parse(packet, layer == Layer::L2, false)?;
    let is_partial = reference::transport_checksum(packet, &at) == Checksum::Partial;
    is_partial.then(|| reference::checksum_at(&at))
}

/// Finds where a piece lies; panics if it is neither in the header area nor in what a slot of the
/// batch was given (behind a device's packet's headroom).
pub fn locate(piece: Piece, memory: &Memory, held: &[Held]) -> Origin {
    let (start, end) = (piece.start as usize, piece.start as usize + piece.len as usize);
    let stride = (memory.slot(1).start - memory.slot(0).start) as usize;
    let headers = memory.slots() * stride;
    if start >= headers {
        assert!(end <= headers + HEADER_AREA, "piece is inside the header area");
        return Origin::Headers;
    }
    let slot = start / stride;
    let held = held.get(slot).unwrap_or_else(|| panic!("{piece:?} is in slot {slot}: unused"));
    let first = held.piece.start as usize;
    let room = if held.is_from_device { HEADROOM } else { 0 };
    assert!(
        start + room >= first && end <= first + held.original.len(),
        "{piece:?} reaches beyond what slot {slot} was given: {first} + {}",
        held.original.len()
    );
    Origin::Slot(slot, start.saturating_sub(first))
}
