//! Packets that wait for a session.

use crate::peer::NetworkId;

pub(super) type Waiting = crate::transport::waiting::Waiting<Packet>;

/// A packet that waits.
pub(super) struct Packet {
    pub(super) bytes: Box<[u8]>,
    pub(super) network: NetworkId,
    pub(super) tos: u8,
}
