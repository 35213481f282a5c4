//! Receiver indices: the numbers by which a message names the session that it belongs to.
//!
//! 24 random bits name a tunnel, so that nobody outside can guess one; the lower eight count its
//! sessions (boringtun does that).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use ring::rand::{SecureRandom, SystemRandom};

use crate::peer::PeerId;

/// What a session's index says of its tunnel.
pub(super) const fn tunnel_of(receiver: u32) -> u32 {
    receiver >> 8
}

/// The indices in use, and whose they are.
#[derive(Default)]
pub(super) struct Indices(RwLock<HashMap<u32, PeerId>>);

/// An index in use, for as long as it lives.
pub(super) struct Index {
    number: u32,
    among: Arc<Indices>,
}

impl Indices {
    /// Takes one that nobody has.
    pub(super) fn take(self: &Arc<Self>, peer: PeerId) -> Index {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Peers are far fewer than indices: it is free nearly always.
            let number = random();
            if let Entry::Vacant(free) = all.entry(number) {
                free.insert(peer);
                return Index { number, among: Arc::clone(self) };
            }
        }
    }

    /// Gives the peer that a message with this receiver index comes from.
    pub(super) fn peer(&self, receiver: u32) -> Option<PeerId> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&tunnel_of(receiver)).copied()
    }

    /// Gives the peers that have a tunnel; one with two of them twice.
    pub(super) fn peers(&self) -> Vec<PeerId> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.values().copied().collect()
    }
}

impl Index {
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let mut all = self.among.0.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.number);
    }
}

/// Gives 24 random bits.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes[..3]).is_err() {
        // cold: the kernel has no random numbers; no handshake will work either.
        return RandomState::new().hash_one(0) as u32 >> 8;
    }
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_its_peers_as_long_as_it_lives() {
        let indices = Arc::new(Indices::default());
        let taken: Vec<_> = (0..1000).map(|slot| indices.take(PeerId::new(slot, 0))).collect();
        for (slot, index) in taken.iter().enumerate() {
            assert!(index.number() < 1 << 24);
            for session in [0, 255] {
                let receiver = index.number() << 8 | session;
                assert_eq!(indices.peer(receiver), Some(PeerId::new(slot, 0)));
            }
        }
        let first = taken[0].number() << 8;
        drop(taken);
        assert_eq!(indices.peer(first), None);
        assert!(indices.peers().is_empty());
    }
}
