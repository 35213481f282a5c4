//! The table of learned addresses: bounded, aged, and defended against those who fill it.
//!
//! Read [`Table::learn`] first. `pages` is the memory, `owners` the counts that limits bound.

use std::hash::Hash;
use std::time::{Duration, Instant};

use self::entry::Entry;
use self::moves::Moves;
use self::owners::{OwnerId, Owners};
use self::page::{SLOTS, Slot};
use self::pages::Pages;
use self::ticks::Ticks;
use super::{Learning, Limits, Place};
use crate::drops::DropReason;
use crate::peer::PeerId;

mod entry;
mod moves;
mod owners;
mod page;
mod pages;
#[cfg(test)]
mod tests;
mod ticks;

/// Where each address was last heard, within limits.
///
/// An entry is visible until it is `age` old or its peer is forgotten, to the tick (0.1 s), whether
/// [`Table::sweep`] has come by or not. Until then it counts against the limits; what a forgotten
/// peer leaves does not.
#[derive(Debug)]
pub struct Table<K> {
    entries: Pages<K, Entry>,
    /// Of the entries that say so; others may be there until they are swept.
    moves: Pages<K, Moves>,
    owners: Owners,
    ticks: Ticks,
    bounds: Bounds,
    cursors: Cursors,
    move_count: u64,
    refusal_count: u64,
}

/// What [`Table::learn`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The entry was there, and is fresh again.
    Known,
    /// The entry is new.
    New,
    /// The entry was somewhere else.
    Moved,
}

/// An entry as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView<K> {
    /// The address.
    pub key: K,
    /// Where it is.
    pub place: Place,
    /// Configured, not learned.
    pub is_static: bool,
    /// Held where it is, because it moved too often.
    pub is_held: bool,
    /// Since it was last heard, in steps of 0.1 s; of a static entry never heard, since it was made.
    pub idle: Duration,
    /// How often it moved; 65 535 is "or more".
    pub moves: u16,
}

/// A part of a table, for dumps.
#[derive(Clone, Debug)]
pub struct Page<K> {
    /// The entries, in no meaningful order.
    pub entries: Vec<EntryView<K>>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<u64>,
}

/// Where the next sweep begins: hashes.
#[derive(Clone, Copy, Debug, Default)]
struct Cursors {
    entries: u64,
    moves: u64,
}

/// [`Learning`], in ticks.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    limits: Limits,
    age: u32,
    move_limit: u8,
    move_window: u32,
    hold_down: u32,
}

impl From<Learning> for Bounds {
    fn from(learning: Learning) -> Self {
        Self {
            limits: learning.limits,
            age: Ticks::covering(learning.age).max(1),
            move_limit: learning.move_limit,
            move_window: Ticks::covering(learning.move_window),
            hold_down: Ticks::covering(learning.hold_down),
        }
    }
}

impl<K: Copy + Eq + Hash + Default> Table<K> {
    /// Makes an empty table. `hash_seed` is random and secret: whoever knows it can choose
    /// addresses that collide, and so have newcomers refused.
    pub fn new(learning: Learning, epoch: Instant, hash_seed: u64) -> Self {
        // As many static entries as learned ones.
        let capacity = learning.limits.network as usize * 2;
        Self {
            entries: Pages::new(capacity, hash_seed),
            moves: Pages::new(capacity, hash_seed),
            owners: Owners::new(),
            ticks: Ticks::since(epoch),
            bounds: learning.into(),
            cursors: Cursors::default(),
            move_count: 0,
            refusal_count: 0,
        }
    }

    /// Finds where an address is.
    #[inline]
    pub fn lookup(&self, key: &K, now: Instant) -> Option<Place> {
        let entry = self.entries.find(key)?;
        if entry.is_expired(self.ticks.at(now), self.bounds.age) {
            return None;
        }
        self.owners.place(entry.owner())
    }

    /// Learns that an address is at a place.
    ///
    /// Cheap for what is known there already: one find, and a write at most once in 0.1 s.
    ///
    /// # Errors
    ///
    /// Refuses, and leaves the entry as it is, with
    /// - `StaticSource`: a static entry has it elsewhere;
    /// - `MoveHeldDown`: it moved too often, and is held elsewhere;
    /// - `PeerTableFull`, `LocalTableFull`: the place has as many entries as it may have;
    /// - `NetworkTableFull`: the table has.
    #[inline]
    pub fn learn(&mut self, key: K, place: Place, now: Instant) -> Result<Learned, DropReason> {
        let tick = self.ticks.advance(now);
        if self.refresh_at(&key, place, tick) {
            return Ok(Learned::Known);
        }
        // cold: new, or moved.
        self.learn_anew(key, place, tick).inspect_err(|_| self.refusal_count += 1)
    }

    /// Makes an entry fresh again if it is at that place; says whether it is.
    #[inline]
    pub fn refresh(&mut self, key: &K, place: Place, now: Instant) -> bool {
        let tick = self.ticks.advance(now);
        self.refresh_at(key, place, tick)
    }

    /// Makes a static entry, which neither ages nor moves. What was there is gone.
    ///
    /// Static entries are not counted against the limits of learned ones; there may be as many as
    /// learned ones in the network.
    ///
    /// # Errors
    ///
    /// Refuses with `NetworkTableFull` if there are that many.
    pub fn insert_static(&mut self, key: K, place: Place, now: Instant) -> Result<(), DropReason> {
        let tick = self.ticks.at(now);
        if !self.is_static(&key) && self.owners.statics() >= self.bounds.limits.network {
            return Err(DropReason::NetworkTableFull);
        }
        self.remove(&key);
        let owner = self.owners.enter(place);
        self.insert(key, Entry::fixed(owner, tick), tick)
    }

    /// Removes a static entry; says whether there was one. A learned one stays.
    pub fn remove_static(&mut self, key: &K) -> bool {
        let is_static = self.is_static(key);
        if is_static {
            self.remove(key);
        }
        is_static
    }

    /// Forgets a peer: all its entries, static ones too, are invisible from now on.
    ///
    /// Takes the same short time whatever their number; [`Table::sweep`] reclaims their memory.
    pub fn forget_peer(&mut self, peer: PeerId) {
        self.owners.forget(peer);
    }

    /// Removes what is expired or belongs to a forgotten peer, and goes on where the last sweep
    /// ended. Gives the number of entries removed.
    ///
    /// Looks at `budget` slots, rounded up to pages of 128 (about two slots an entry), and never
    /// at more than the whole table.
    pub fn sweep(&mut self, now: Instant, budget: usize) -> usize {
        let tick = self.ticks.advance(now);
        let Self { entries, moves, owners, bounds, cursors, .. } = self;
        let mut removed = 0;
        for _ in 0..budget.min(entries.slots()).div_ceil(SLOTS) {
            let is_dead = |slot: &Slot<K, Entry>| is_reclaimed(slot.value, owners, bounds, tick);
            let (count, next) = entries.sweep(cursors.entries, is_dead);
            removed += count;
            cursors.entries = next;
        }
        for _ in 0..budget.min(moves.slots()).div_ceil(SLOTS) {
            let (_, next) = moves.sweep(cursors.moves, |slot| !has_moves(entries, &slot.key));
            cursors.moves = next;
        }
        removed
    }

    /// Gives the entries from `cursor` on (0 at first), about `max` of them.
    ///
    /// An entry that is there all the while is in exactly one of the parts, whatever else the
    /// table learns between them.
    pub fn entries(&self, mut cursor: u64, max: usize, now: Instant) -> Page<K> {
        let tick = self.ticks.at(now);
        let mut entries = Vec::new();
        loop {
            let (page, next) = self.entries.page_from(cursor);
            for (hash, slot) in page {
                if entries.len() >= max {
                    return Page { entries, next: Some(hash) };
                }
                entries.extend(self.view(slot, tick));
            }
            if next == 0 {
                return Page { entries, next: None };
            }
            cursor = next;
        }
    }

    /// Gives the number of entries, learned and static; expired ones count until they are swept.
    pub fn len(&self) -> usize {
        self.owners.learned() as usize + self.owners.statics() as usize
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the number of entries at one place, as [`Table::len`] counts them.
    pub fn len_of(&self, place: Place) -> usize {
        self.owners.at(place).map_or(0, |owner| self.owners.len(owner))
    }

    /// Gives how many learned entries the limits allow at a place.
    pub fn limit_of(&self, place: Place) -> u32 {
        match place {
            Place::Local => self.bounds.limits.local,
            Place::Peer(_) => self.bounds.limits.per_peer,
        }
    }

    /// Gives how often entries moved.
    pub fn moves(&self) -> u64 {
        self.move_count
    }

    /// Gives how often [`Table::learn`] refused.
    pub fn refusals(&self) -> u64 {
        self.refusal_count
    }

    #[inline]
    fn refresh_at(&mut self, key: &K, place: Place, tick: u32) -> bool {
        let Some(owner) = self.owners.at(place) else { return false };
        let age = self.bounds.age;
        match self.entries.find_mut(key) {
            Some(entry) if entry.owner() == owner && !entry.is_expired(tick, age) => {
                if entry.seen != tick {
                    entry.seen = tick;
                }
                true
            }
            _ => false,
        }
    }

    fn learn_anew(&mut self, key: K, place: Place, tick: u32) -> Result<Learned, DropReason> {
        let owner = self.owners.enter(place);
        if let Some(&entry) = self.entries.find(&key) {
            if !is_dead(entry, &self.owners, &self.bounds, tick) {
                return self.move_to(owner, key, entry, tick);
            }
            self.remove(&key);
        }
        self.has_room(owner)?;
        if self.owners.learned() >= self.bounds.limits.network {
            return Err(DropReason::NetworkTableFull);
        }
        self.insert(key, Entry::learned(owner, tick), tick)?;
        Ok(Learned::New)
    }

    /// Moves a visible entry to another owner, unless it must stay.
    fn move_to(
        &mut self,
        owner: OwnerId,
        key: K,
        entry: Entry,
        tick: u32,
    ) -> Result<Learned, DropReason> {
        if entry.is_static() {
            return Err(DropReason::StaticSource);
        }
        let mut moves = self.moves_of(&key, entry).unwrap_or(Moves::NONE);
        if moves.is_held(tick) {
            return Err(DropReason::MoveHeldDown);
        }
        self.has_room(owner)?;
        let counted = moves.count(&self.bounds, tick);
        self.record(key, moves)?;
        counted.map_err(|_| DropReason::MoveHeldDown)?;
        self.owners.count_out(entry.owner(), false);
        self.owners.count_in(owner, false);
        if let Some(entry) = self.entries.find_mut(&key) {
            *entry = Entry::moved(owner, tick);
        }
        self.move_count += 1;
        Ok(Learned::Moved)
    }

    /// Writes down the moves of an entry.
    fn record(&mut self, key: K, moves: Moves) -> Result<(), DropReason> {
        if let Some(former) = self.moves.find_mut(&key) {
            *former = moves;
        } else {
            let entries = &self.entries;
            let slot = Slot { key, value: moves };
            let inserted = self.moves.insert(slot, |slot| !has_moves(entries, &slot.key));
            inserted.map_err(|_| DropReason::MoveHeldDown)?;
        }
        if let Some(entry) = self.entries.find_mut(&key) {
            entry.set_has_moves();
        }
        Ok(())
    }

    /// Inserts and counts an entry whose key is not there.
    fn insert(&mut self, key: K, entry: Entry, tick: u32) -> Result<(), DropReason> {
        let Self { entries, owners, bounds, .. } = self;
        let is_dead = |slot: &Slot<K, Entry>| is_reclaimed(slot.value, owners, bounds, tick);
        let inserted = entries.insert(Slot { key, value: entry }, is_dead);
        inserted.map_err(|_| DropReason::NetworkTableFull)?;
        self.owners.count_in(entry.owner(), entry.is_static());
        Ok(())
    }

    fn remove(&mut self, key: &K) {
        if let Some(&entry) = self.entries.find(key) {
            self.entries.remove(key);
            self.owners.count_out(entry.owner(), entry.is_static());
        }
    }

    fn has_room(&self, owner: OwnerId) -> Result<(), DropReason> {
        if self.owners.has_room(owner, &self.bounds.limits) {
            return Ok(());
        }
        match owner {
            OwnerId::LOCAL => Err(DropReason::LocalTableFull),
            _ => Err(DropReason::PeerTableFull),
        }
    }

    /// Whether there is a visible static entry.
    fn is_static(&self, key: &K) -> bool {
        let entry = self.entries.find(key);
        entry.is_some_and(|entry| entry.is_static() && self.owners.place(entry.owner()).is_some())
    }

    fn moves_of(&self, key: &K, entry: Entry) -> Option<Moves> {
        if entry.has_moves() { self.moves.find(key).copied() } else { None }
    }

    fn view(&self, slot: Slot<K, Entry>, tick: u32) -> Option<EntryView<K>> {
        let Slot { key, value: entry } = slot;
        if entry.is_expired(tick, self.bounds.age) {
            return None;
        }
        let moves = self.moves_of(&key, entry).unwrap_or(Moves::NONE);
        Some(EntryView {
            key,
            place: self.owners.place(entry.owner())?,
            is_static: entry.is_static(),
            is_held: moves.is_held(tick),
            idle: Ticks::duration(entry.idle(tick)),
            moves: moves.total,
        })
    }
}

/// Whether an entry is invisible for good.
fn is_dead(entry: Entry, owners: &Owners, bounds: &Bounds, tick: u32) -> bool {
    entry.is_expired(tick, bounds.age) || owners.place(entry.owner()).is_none()
}

/// Whether an entry is to be removed; it is then counted no more.
fn is_reclaimed(entry: Entry, owners: &mut Owners, bounds: &Bounds, tick: u32) -> bool {
    let is_dead = is_dead(entry, owners, bounds, tick);
    if is_dead {
        owners.count_out(entry.owner(), entry.is_static());
    }
    is_dead
}

/// Whether the record of moves under a key is about an entry that is there.
fn has_moves<K: Copy + Eq + Hash + Default>(entries: &Pages<K, Entry>, key: &K) -> bool {
    entries.find(key).is_some_and(|entry| entry.has_moves())
}
