//! Whose entries a table holds, and how many.
//!
//! Entries name their owner by a number of the table's own, so that an owner that is forgotten
//! takes all its entries with it at once. The number is used again when the last of them is gone.

use crate::forward::slots::SlotMap;
use crate::forward::{Limits, Place};
use crate::peer::PeerId;

/// An owner's number in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnerId(u32);

impl OwnerId {
    /// Our own device.
    pub(super) const LOCAL: Self = Self(0);

    /// Takes a number that [`OwnerId::number`] gave.
    pub(super) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Gives the number, less than 2^21: peers have 2^20 slots, and what is forgotten has entries.
    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    /// None once it is forgotten.
    place: Option<Place>,
    /// What the limits bound.
    learned: u32,
    statics: u32,
}

impl Owner {
    const fn new(place: Place) -> Self {
        Self { place: Some(place), learned: 0, statics: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.learned == 0 && self.statics == 0
    }
}

/// The owners of a table: our own device, and each peer that it has heard of.
#[derive(Debug)]
pub(super) struct Owners {
    list: Vec<Owner>,
    of_peer: SlotMap<OwnerId>,
    unused: Vec<OwnerId>,
    /// Of all owners that are not forgotten.
    learned: u32,
    statics: u32,
}

impl Owners {
    pub(super) fn new() -> Self {
        Self {
            list: vec![Owner::new(Place::Local)],
            of_peer: SlotMap::new(),
            unused: Vec::new(),
            learned: 0,
            statics: 0,
        }
    }

    pub(super) const fn learned(&self) -> u32 {
        self.learned
    }

    pub(super) const fn statics(&self) -> u32 {
        self.statics
    }

    /// Gives an owner's place; `None` if it is forgotten.
    #[inline]
    pub(super) fn place(&self, owner: OwnerId) -> Option<Place> {
        self.list[owner.0 as usize].place
    }

    /// Gives the owner at a place.
    #[inline]
    pub(super) fn at(&self, place: Place) -> Option<OwnerId> {
        let owner = match place {
            Place::Local => OwnerId::LOCAL,
            Place::Peer(peer) => self.of_peer.value(peer)?,
        };
        (self.list[owner.0 as usize].place == Some(place)).then_some(owner)
    }

    /// Gives the owner at a place, made if it is new; it replaces one of an earlier generation.
    pub(super) fn enter(&mut self, place: Place) -> OwnerId {
        if let Some(owner) = self.at(place) {
            return owner;
        }
        let Place::Peer(peer) = place else { return OwnerId::LOCAL };
        if let Some(earlier) = self.of_peer.value(peer) {
            self.forget_owner(peer, earlier);
        }
        let owner = self.unused.pop().unwrap_or_else(|| {
            self.list.push(Owner::new(place));
            OwnerId(self.list.len() as u32 - 1)
        });
        self.list[owner.0 as usize] = Owner::new(place);
        self.of_peer.insert(peer, owner);
        owner
    }

    /// Forgets a peer and, with it, what its entries say.
    pub(super) fn forget(&mut self, peer: PeerId) {
        if let Some(owner) = self.at(Place::Peer(peer)) {
            self.forget_owner(peer, owner);
        }
    }

    /// Whether a place may have one more learned entry.
    pub(super) fn has_room(&self, owner: OwnerId, limits: &Limits) -> bool {
        let limit = if owner == OwnerId::LOCAL { limits.local } else { limits.per_peer };
        self.list[owner.0 as usize].learned < limit
    }

    /// Counts learned and static entries at a place.
    pub(super) fn len(&self, owner: OwnerId) -> usize {
        let owner = &self.list[owner.0 as usize];
        owner.learned as usize + owner.statics as usize
    }

    pub(super) fn count_in(&mut self, owner: OwnerId, is_static: bool) {
        let owner = &mut self.list[owner.0 as usize];
        if is_static {
            owner.statics += 1;
            self.statics += 1;
        } else {
            owner.learned += 1;
            self.learned += 1;
        }
    }

    pub(super) fn count_out(&mut self, id: OwnerId, is_static: bool) {
        let owner = &mut self.list[id.0 as usize];
        let (count, total) = if is_static {
            (&mut owner.statics, &mut self.statics)
        } else {
            (&mut owner.learned, &mut self.learned)
        };
        *count -= 1;
        if owner.place.is_some() {
            *total -= 1;
        } else if owner.is_empty() {
            self.unused.push(id);
        }
    }

    fn forget_owner(&mut self, peer: PeerId, id: OwnerId) {
        self.of_peer.remove(peer);
        let owner = &mut self.list[id.0 as usize];
        owner.place = None;
        self.learned -= owner.learned;
        self.statics -= owner.statics;
        if owner.is_empty() {
            self.unused.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_forgotten_owners_are_used_again_when_nothing_names_them() {
        let mut owners = Owners::new();
        for generation in 0..1000 {
            let peer = PeerId::new(5, generation);
            let owner = owners.enter(Place::Peer(peer));
            owners.count_in(owner, false);
            owners.count_in(owner, true);
            owners.forget(peer);
            assert_eq!((owners.place(owner), owners.learned(), owners.statics()), (None, 0, 0));
            owners.count_out(owner, true);
            assert_ne!(owners.enter(Place::Local), owner);
            owners.count_out(owner, false);
            let idle = PeerId::new(6, generation);
            owners.enter(Place::Peer(idle));
            owners.forget(idle);
        }
        assert!(owners.list.len() <= 3, "{} owners", owners.list.len());
    }
}
