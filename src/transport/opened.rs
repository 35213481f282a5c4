//! What a secured transport gives the node: packets of peers that it has authenticated; and what
//! it lost.

use std::net::IpAddr;
use std::ops::Range;

use super::Transmit;
use crate::buffer::Piece;
use crate::drops::DropReason;
use crate::peer::{NetworkId, PeerId};

/// Packets of one peer that arrived together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose they are.
    pub peer: PeerId,
    /// The outer traffic class.
    pub tos: u8,
    /// The address of ours that they were sent to.
    pub local: Option<IpAddr>,
    /// Their places in [`Contents::packets`].
    pub packets: Range<usize>,
}

/// What a batch of messages held.
#[derive(Default)]
pub struct Contents {
    /// Packets of one peer each, in the order of their arrival.
    pub runs: Vec<Run>,
    /// The packets that the runs point into.
    pub packets: Vec<Piece>,
}

/// Packets or messages that end here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The network that they belong to.
    pub network: Option<NetworkId>,
    /// The peer that they are for or from.
    pub peer: Option<PeerId>,
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub packets: u64,
}

impl Contents {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.packets.clear();
    }

    pub(super) fn push(&mut self, run: Run) {
        if !run.packets.is_empty() {
            self.runs.push(run);
        }
    }
}

impl Loss {
    /// What a peer has lost, or nobody that is known.
    pub(super) fn of(peer: Option<PeerId>, reason: DropReason, packets: u64) -> Self {
        Self { network: None, peer, reason, packets }
    }

    /// What a transmit has lost.
    pub(super) fn from(transmit: &Transmit, reason: DropReason, packets: u64) -> Self {
        let (network, peer) = (Some(transmit.network), Some(transmit.peer));
        Self { network, peer, reason, packets }
    }
}
