//! Where a packet goes: learned tables, routes, flooding, and the verdict. Pure.
//!
//! This room takes addresses and `now` and says where a packet goes, or why it goes nowhere. It
//! never sees bytes, sockets or a clock. Read [`L2Network::verdict`] first, then [`Table`]: the
//! bounded table that both kinds of network learn into; then [`Routes`].
//!
//! Everything that a peer can fill has a limit, and a full table refuses the newcomer: what is in
//! it stays.

use std::time::Duration;

use crate::drops::DropReason;
use crate::peer::PeerId;

mod flood;
mod key;
mod l2;
mod l3;
mod lpm;
mod members;
mod routes;
mod slots;
mod source;
mod table;

pub use self::flood::{FloodLimit, FloodRate};
pub use self::key::{HostKey, MacKey};
pub use self::l2::L2Network;
pub use self::l3::L3Network;
pub use self::routes::{RouteMatch, Routes, Share};
pub use self::source::SourceFilter;
pub use self::table::{EntryView, Learned, Page, Table};

/// Where a learned address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Behind our own device.
    Local,
    /// Behind a peer.
    Peer(PeerId),
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ingress {
    /// Our own device.
    Device,
    /// A peer, over the underlay.
    Peer(PeerId),
}

impl From<Ingress> for Place {
    fn from(ingress: Ingress) -> Self {
        match ingress {
            Ingress::Device => Self::Local,
            Ingress::Peer(peer) => Self::Peer(peer),
        }
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To our own device.
    Device,
    /// To one peer.
    Peer(PeerId),
    /// To every peer of the network but the one it came from.
    Flood {
        /// And to our own device.
        device: bool,
    },
    /// To every peer that shares the prefix but the one it came from (L3, host not yet learned).
    FloodShared(Share),
    /// Nowhere.
    Drop(DropReason),
}

/// How many learned entries a table takes; static entries are not counted against them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In the whole network.
    pub network: u32,
    /// From each peer.
    pub per_peer: u32,
    /// From our own device.
    pub local: u32,
}

/// How a table learns and forgets. Durations are rounded up to 0.1 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// An entry that its host has not refreshed for so long is gone; at least 0.1 s.
    pub age: Duration,
    /// How many entries the table takes.
    pub limits: Limits,
    /// An entry may move so many times within `move_window`; the next move holds it where it is.
    pub move_limit: u8,
    /// Begins with an entry's first move, and anew with the first move after its end.
    pub move_window: Duration,
    /// How long an entry that moved too often is held.
    pub hold_down: Duration,
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(300),
            limits: Limits { network: 131_072, per_peer: 16_384, local: 16_384 },
            move_limit: 5,
            move_window: Duration::from_secs(10),
            hold_down: Duration::from_secs(30),
        }
    }
}

/// What a network forwards by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How its table learns.
    pub learning: Learning,
    /// How fast each source may flood.
    pub flood: FloodRate,
    /// Whether what comes from one peer may go to another.
    pub relay: bool,
    /// Whether an L3 network sends what is for a group to whom the group's prefix belongs, as it does
    /// with what is for a host; else it goes to all peers.
    pub routes_groups: bool,
}
