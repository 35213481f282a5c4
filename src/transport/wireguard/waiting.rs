//! Packets that wait for a session, in their order.

use std::collections::VecDeque;

use crate::peer::NetworkId;

/// Packets that wait at most, for one peer: some full windows of a few new connections.
const PACKETS_MAX: usize = 128;

/// A packet that waits.
pub(super) struct Packet {
    pub(super) bytes: Box<[u8]>,
    pub(super) network: NetworkId,
    pub(super) tos: u8,
}

/// A queue that forgets its oldest packets when it is full: what is newest is worth most, as in
/// the kernel (drivers/net/wireguard/device.c, MAX_STAGED_PACKETS).
#[derive(Default)]
pub(super) struct Waiting(VecDeque<Packet>);

impl Waiting {
    /// Adds a packet; gives the one that was pushed out.
    pub(super) fn push(&mut self, packet: Packet) -> Option<Packet> {
        let oldest = (self.0.len() >= PACKETS_MAX).then(|| self.0.pop_front()).flatten();
        self.0.push_back(packet);
        oldest
    }

    /// Takes all packets, the oldest first.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Packet> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_loses_its_oldest_and_keeps_the_order() {
        let mut waiting = Waiting::default();
        let packet =
            |n: usize| Packet { bytes: Box::from(n.to_le_bytes()), network: NetworkId(0), tos: 0 };
        let lost: Vec<_> = (0..PACKETS_MAX + 3).filter_map(|n| waiting.push(packet(n))).collect();
        assert!(lost.iter().map(|packet| packet.bytes[0]).eq(0..3));
        let kept: Vec<_> = waiting.take().collect();
        let expected = (3..PACKETS_MAX + 3).map(|n| Box::from(n.to_le_bytes()));
        assert!(kept.into_iter().map(|packet| packet.bytes).eq(expected));
        assert!(waiting.is_empty());
    }
}
