//! How a packet crosses the underlay: what arrives and what leaves, encapsulation and overhead. Pure.
//!
//! This room builds and reads outer headers, and seals what has to be sealed. It never opens a
//! socket and never looks at tables.

pub mod opened;
pub mod outer;
pub mod overhead;
pub mod quic;
mod waiting;
pub mod wireguard;

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::buffer::Piece;
use crate::frame::Layer;
use crate::peer::{NetworkId, PeerId};

/// The UDP port, and with it the format, on which a datagram arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// VXLAN (RFC 7348): Ethernet frames, port 4789.
    Vxlan,
    /// VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe): IP packets, port 4790.
    VxlanGpe,
    /// WireGuard: sealed IP packets.
    WireGuard,
    /// QUIC: VXLAN or VXLAN-GPE in datagrams (RFC 9221).
    Quic,
}

/// What one receive call put into a slot: a datagram, or a run of them merged by UDP GRO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where the bytes are.
    pub piece: Piece,
    /// The segment size that the kernel gave with UDP_GRO. Not always the size of the outer
    /// datagrams: `offload::classify` decides what it means.
    pub stride: Option<u16>,
    /// The sender.
    pub from: SocketAddr,
    /// The address of ours that the sender used (IP_PKTINFO).
    pub local: Option<IpAddr>,
    /// The outer traffic class: DSCP and ECN.
    pub tos: u8,
    /// The datagram was longer than the slot.
    pub truncated: bool,
    /// The port on which it arrived.
    pub carrier: Carrier,
}

/// What one send call takes: a datagram, or a run of equal ones (the last may be shorter).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// How it crosses.
    pub carrier: Carrier,
    /// The peer's address; with WireGuard and QUIC it is known to the transport, which seals.
    pub to: SocketAddr,
    /// The address of ours to send from, where the peer has used one of several.
    pub from: Option<IpAddr>,
    /// Chooses the sending socket: a hash of the inner flow, so that one flow keeps one source port.
    pub entropy: u16,
    /// The outer traffic class: DSCP and ECN.
    pub tos: u8,
    /// The most bytes of a datagram that the path takes, before it is sealed.
    pub room: u16,
    /// Length of each datagram but the last, bytes.
    pub datagram_len: u16,
    /// Number of datagrams; more than one is sent with UDP_SEGMENT.
    pub count: u16,
    /// Length of all datagrams together, bytes.
    pub len: u32,
    /// The pieces to gather: positions in the batch's list.
    pub pieces: Range<u32>,
    /// The peer, for its counters and its path MTU.
    pub peer: PeerId,
    /// The network that the packets belong to.
    pub network: NetworkId,
    /// The peer that the packets came from, where they are relayed; none if from our own device.
    pub relayed_from: Option<PeerId>,
}

impl Received {
    /// Gives the datagrams in it, if its stride means what it seems to.
    pub fn datagrams(&self) -> u64 {
        let stride = self.stride.map_or(self.piece.len, u32::from).max(1);
        u64::from(self.piece.len.div_ceil(stride).max(1))
    }
}

impl Carrier {
    /// Gives the format that carries frames or packets.
    pub const fn of(layer: Layer) -> Self {
        match layer {
            Layer::L2 => Self::Vxlan,
            Layer::L3 => Self::VxlanGpe,
        }
    }
    /// Gives what the format carries.
    pub const fn layer(self) -> Layer {
        match self {
            Self::Vxlan => Layer::L2,
            Self::VxlanGpe | Self::WireGuard | Self::Quic => Layer::L3,
        }
    }
}
