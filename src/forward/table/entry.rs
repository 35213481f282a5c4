//! What a table knows of an address: 8 bytes, so that four MACs with theirs fill a cache line.

use super::owners::OwnerId;
use super::page::{Slot, Value};
use crate::forward::MacKey;

/// Where an address was last heard, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// In ticks.
    pub(super) seen: u32,
    /// Owner and kind.
    tag: u32,
}

const _: () = assert!(size_of::<Slot<MacKey, Entry>>() == 16);

/// Set in every entry, so that no entry is a free slot.
const USED: u32 = 1 << 31;
/// Neither ages nor moves.
const STATIC: u32 = 1 << 30;
/// Has a record of its moves.
const MOVED: u32 = 1 << 29;
const OWNER: u32 = MOVED - 1;

impl Value for Entry {
    const FREE: Self = Self { seen: 0, tag: 0 };

    #[inline]
    fn is_free(&self) -> bool {
        self.tag == 0
    }
}

impl Entry {
    pub(super) const fn learned(owner: OwnerId, tick: u32) -> Self {
        Self { seen: tick, tag: USED | owner.number() & OWNER }
    }

    pub(super) const fn fixed(owner: OwnerId, tick: u32) -> Self {
        Self { seen: tick, tag: USED | STATIC | owner.number() & OWNER }
    }

    /// The same entry, moved to another owner.
    pub(super) const fn moved(owner: OwnerId, tick: u32) -> Self {
        Self { seen: tick, tag: USED | MOVED | owner.number() & OWNER }
    }

    #[inline]
    pub(super) const fn owner(self) -> OwnerId {
        OwnerId::new(self.tag & OWNER)
    }

    #[inline]
    pub(super) const fn is_static(self) -> bool {
        self.tag & STATIC != 0
    }

    /// Whether the record of moves under its key is about this entry.
    pub(super) const fn has_moves(self) -> bool {
        self.tag & MOVED != 0
    }

    pub(super) const fn set_has_moves(&mut self) {
        self.tag |= MOVED;
    }

    /// How long its host has been silent, in ticks.
    #[inline]
    pub(super) const fn idle(self, tick: u32) -> u32 {
        tick.saturating_sub(self.seen)
    }

    #[inline]
    pub(super) const fn is_expired(self, tick: u32, age: u32) -> bool {
        self.idle(tick) >= age && !self.is_static()
    }
}
