//! Packets that wait for a connection, or for its path to be known, in their order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::peer::NetworkId;

/// Packets that wait at most: some full windows of a few new connections.
const PACKETS_MAX: usize = 128;

/// How long they wait at most: nobody means them any more then.
const AGE_MAX: Duration = Duration::from_secs(5);

/// A packet that waits, behind its VXLAN header.
pub(super) struct Packet {
    pub(super) since: Instant,
    pub(super) bytes: Bytes,
    pub(super) network: NetworkId,
}

/// A queue that forgets its oldest packets when it is full: what is newest is worth most.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<Packet>);

impl Waiting {
    /// Adds a packet; gives the one that was pushed out.
    pub(super) fn push(&mut self, packet: Packet) -> Option<Packet> {
        let oldest = (self.0.len() >= PACKETS_MAX).then(|| self.0.pop_front()).flatten();
        self.0.push_back(packet);
        oldest
    }

    /// Takes the packets that have waited too long.
    pub(super) fn take_old(&mut self, now: Instant) -> impl Iterator<Item = Packet> {
        let is_old = |packet: &&Packet| packet.since + AGE_MAX <= now;
        let count = self.0.iter().take_while(is_old).count();
        self.0.drain(..count)
    }

    /// Takes all packets, the oldest first.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Packet> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
