//! Who and what a packet belongs to: VNI, network, peer.

use std::fmt;

/// A VXLAN network identifier: 24 bits (RFC 7348 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vni(u32);

impl Vni {
    /// The largest identifier, 2^24 - 1.
    pub const MAX: u32 = 0xff_ffff;

    /// Takes a number that fits in 24 bits.
    pub const fn new(vni: u32) -> Option<Self> {
        if vni <= Self::MAX { Some(Self(vni)) } else { None }
    }

    /// Takes the three bytes as they stand in a VXLAN header.
    pub const fn from_bytes(bytes: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]))
    }

    /// Gives the identifier as a number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A network of this node: its position in the configuration, at most 65 535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(pub u16);

impl NetworkId {
    /// Gives the position, for indexing.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A peer of this node: a slot, and the slot's generation.
///
/// A slot that is used again gets another generation, so what the tables still hold of the
/// former peer can be told apart without walking them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u32);

impl PeerId {
    /// Slots: 2^20 peers at most.
    pub const SLOT_BITS: u32 = 20;
    const SLOT_MASK: u32 = (1 << Self::SLOT_BITS) - 1;

    /// Makes the id of a slot in a generation; both are cut to their width (20 and 12 bits).
    pub const fn new(slot: usize, generation: u16) -> Self {
        Self((slot as u32 & Self::SLOT_MASK) | ((generation as u32) << Self::SLOT_BITS))
    }

    /// Gives the slot, for indexing.
    pub const fn slot(self) -> usize {
        (self.0 & Self::SLOT_MASK) as usize
    }

    /// Gives the generation of the slot, 0 to 4095.
    pub const fn generation(self) -> u16 {
        (self.0 >> Self::SLOT_BITS) as u16
    }
}
