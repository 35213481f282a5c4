//! Packets as devices and sockets would give them, and a node that takes them: what a node costs
//! is measured, and watched, with no kernel around it.
//!
//! Nothing here opens anything, and only the session of a [`Line`] reads a clock. Read [`Rig`] first;
//! [`Flow`] makes what it is fed with.

mod line;
mod packet;
mod rig;

pub use line::Line;
pub use packet::{Flow, MSS, Protocol};
pub use rig::{Moved, Rig};

use crate::offload::VnetHeader;
use crate::transport::overhead::{self, Wrap};

/// The largest IP packet in the network of a [`Rig`]: what a path of 1500 bytes leaves.
pub const MTU: u16 = 1450;

/// Full segments in a GSO packet that leaves in one send, and in the run that arrives as one.
pub const SEGMENTS: usize = overhead::run_segments(Wrap::Vxlan, MTU, true) as usize;

/// What one read of a device gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The packet or GSO packet.
    pub bytes: Vec<u8>,
    /// The offload header in front of it.
    pub vnet: VnetHeader,
}

/// What one receive call puts into a slot; where WireGuard is, before that has sealed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The datagram, or the run.
    pub bytes: Vec<u8>,
    /// The segment size, if it is a run.
    pub stride: Option<u16>,
    /// The peer that sends it, from 0.
    pub from: usize,
}
