//! What waits for a session or a connection, in its order.

use std::collections::VecDeque;

/// Packets that wait at most, for one peer: some full windows of a few new connections.
const PACKETS_MAX: usize = 128;

/// A queue that forgets its oldest packets when it is full: what is newest is worth most, as in
/// the kernel (drivers/net/wireguard/device.c, MAX_STAGED_PACKETS).
pub(super) struct Waiting<P>(VecDeque<P>);

impl<P> Default for Waiting<P> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<P> Waiting<P> {
    /// Adds a packet; gives the one that was pushed out.
    pub(super) fn push(&mut self, packet: P) -> Option<P> {
        let oldest = (self.0.len() >= PACKETS_MAX).then(|| self.0.pop_front()).flatten();
        self.0.push_back(packet);
        oldest
    }

    /// Takes all packets, the oldest first.
    pub(super) fn take(&mut self) -> impl Iterator<Item = P> + use<P> {
        std::mem::take(&mut self.0).into_iter()
    }

    /// Takes packets, the oldest first, up to one that is not `due`.
    pub(super) fn take_while(&mut self, due: impl Fn(&P) -> bool) -> impl Iterator<Item = P> {
        let count = self.0.iter().take_while(|packet| due(packet)).count();
        self.0.drain(..count)
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
        let lost: Vec<_> = (0..PACKETS_MAX + 3).filter_map(|n| waiting.push(n)).collect();
        assert_eq!(lost, [0, 1, 2]);
        assert!(waiting.take_while(|n| *n < 5).eq(3..5));
        assert!(waiting.take().eq(5..PACKETS_MAX + 3));
        assert!(waiting.is_empty());
    }
}
