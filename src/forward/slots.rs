//! A value for each peer slot.

use crate::peer::PeerId;

/// Maps the slots of peers to values; as large as the largest slot in use, at most 2^20.
#[derive(Clone, Debug)]
pub(super) struct SlotMap<T>(Vec<Option<T>>);

impl<T: Copy> SlotMap<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn value(&self, peer: PeerId) -> Option<T> {
        self.0.get(peer.slot()).copied().flatten()
    }

    pub(super) fn insert(&mut self, peer: PeerId, value: T) {
        let slot = peer.slot();
        if slot >= self.0.len() {
            self.0.resize(slot + 1, None);
        }
        self.0[slot] = Some(value);
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        if let Some(value) = self.0.get_mut(peer.slot()) {
            *value = None;
        }
    }
}
