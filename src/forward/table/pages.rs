//! The table's memory: extendible hashing.
//!
//! A directory, indexed by the leading bits of the hash, names small pages. A page that is full
//! splits in two; two that are nearly empty become one. So nothing is ever rehashed as a whole,
//! and the longest pause is a page's split, or the copy of the directory (4 bytes a page). Pages
//! come from the allocator a few at a time, and go back when all of those are unused.

use std::hash::{Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::page::{FULL, Page, SLOTS, Slot, Value};

/// Bits by which a directory may exceed what equally filled pages need. A page that is full all
/// the same holds more than eight times its share, which hashes by a secret seed do not do.
const SPARE_DEPTH: u32 = 2;

/// Two pages become one when they have at most so many slots used together: half of what splits
/// one, so that a page does not split and merge by turns.
const MERGE: usize = FULL / 2;

/// Pages that are allocated together: few enough that clearing them takes a few microseconds, and
/// enough that the list of them stays in the cache.
const CHUNK: usize = 16;

/// Values, found by the hash of their keys.
#[derive(Debug)]
pub(super) struct Pages<K, V> {
    seed: Seed,
    /// 2^depth page numbers.
    directory: Vec<u32>,
    depth: u32,
    depth_max: u32,
    /// Page n is in chunk n / CHUNK; a chunk without used pages is empty.
    chunks: Vec<Box<[Page<K, V>]>>,
    /// For each page.
    heads: Vec<Head>,
    unused: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Slots used.
    len: u16,
    /// Leading bits of the hash that all its keys have in common.
    depth: u8,
    is_used: bool,
}

/// A slot behind its hash.
pub(super) type Hashed<K, V> = (u64, Slot<K, V>);

/// The page is full and may not be split.
#[derive(Debug)]
pub(super) struct PageFull;

impl<K: Copy + Eq + Hash + Default, V: Value> Pages<K, V> {
    /// Makes pages for `capacity` keys; memory is taken as they come.
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        let pages = capacity.div_ceil(FULL / 2).max(1).next_power_of_two();
        let mut new = Self {
            seed: Seed(seed, SharedSeed::from_u64(seed)),
            directory: Vec::new(),
            depth: 0,
            depth_max: pages.ilog2().min(28) + SPARE_DEPTH,
            chunks: Vec::new(),
            heads: Vec::new(),
            unused: Vec::new(),
        };
        let first = new.take_page(0);
        new.directory.push(first);
        new
    }

    #[inline]
    pub(super) fn find(&self, key: &K) -> Option<&V> {
        let hash = self.hash(key);
        self.page(self.number_of(hash)).find(hash, key)
    }

    #[inline]
    pub(super) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        let hash = self.hash(key);
        self.page_mut(self.number_of(hash)).find_mut(hash, key)
    }

    /// Adds a value whose key is not there. A full page first loses what `is_dead` names.
    pub(super) fn insert(
        &mut self,
        slot: Slot<K, V>,
        mut is_dead: impl FnMut(&Slot<K, V>) -> bool,
    ) -> Result<(), PageFull> {
        let hash = self.hash(&slot.key);
        loop {
            let number = self.number_of(hash);
            if usize::from(self.heads[number as usize].len) < FULL {
                self.add(number, hash, slot);
                return Ok(());
            }
            if self.remove_dead(number, &mut is_dead) == 0 {
                self.split(hash)?;
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        let number = self.number_of(self.hash(key));
        self.remove_dead(number, |slot| slot.key == *key);
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        (self.heads.len() - self.unused.len()) * SLOTS
    }

    /// Removes what `is_dead` names from the page around the hash `cursor`. Gives how many were
    /// removed and the cursor of the next page, 0 after the last one.
    pub(super) fn sweep(
        &mut self,
        cursor: u64,
        is_dead: impl FnMut(&Slot<K, V>) -> bool,
    ) -> (usize, u64) {
        let (first, width) = self.span_of(cursor);
        let next = self.start_of(first + width);
        let removed = self.remove_dead(self.directory[first], is_dead);
        self.merge(first, width);
        (removed, next)
    }

    /// Gives the slots of the page around `cursor` whose hash is at least that, by their hash, and
    /// the cursor of the next page, 0 after the last one.
    pub(super) fn page_from(&self, cursor: u64) -> (Vec<Hashed<K, V>>, u64) {
        let (first, width) = self.span_of(cursor);
        let page = self.page(self.directory[first]);
        let with_hash = page.slots().map(|slot| (self.hash(&slot.key), *slot));
        let mut slots: Vec<_> = with_hash.filter(|(hash, _)| *hash >= cursor).collect();
        slots.sort_unstable_by_key(|(hash, _)| *hash);
        (slots, self.start_of(first + width))
    }

    #[inline]
    fn hash(&self, key: &K) -> u64 {
        hash_by(&self.seed, key)
    }

    #[inline]
    fn index_of(&self, hash: u64) -> usize {
        // Two shifts, because one by 64 is none.
        ((hash >> 1) >> (63 - self.depth)) as usize
    }

    #[inline]
    fn number_of(&self, hash: u64) -> u32 {
        self.directory[self.index_of(hash)]
    }

    #[inline]
    fn page(&self, number: u32) -> &Page<K, V> {
        &self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    #[inline]
    fn page_mut(&mut self, number: u32) -> &mut Page<K, V> {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    /// The directory's positions that name the page of a hash: the first, and how many.
    fn span_of(&self, hash: u64) -> (usize, usize) {
        let index = self.index_of(hash);
        let head = self.heads[self.directory[index] as usize];
        let width = 1 << (self.depth - u32::from(head.depth));
        (index & !(width - 1), width)
    }

    /// The smallest hash of a position in the directory, 0 behind its end.
    fn start_of(&self, index: usize) -> u64 {
        if index == self.directory.len() { 0 } else { (index as u64) << (64 - self.depth) }
    }

    fn add(&mut self, number: u32, hash: u64, slot: Slot<K, V>) {
        self.page_mut(number).insert(hash, slot);
        self.heads[number as usize].len += 1;
    }

    fn remove_dead(&mut self, number: u32, is_dead: impl FnMut(&Slot<K, V>) -> bool) -> usize {
        let seed = &self.seed;
        let page = &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK];
        let removed = page.remove_dead(|key| hash_by(seed, key), is_dead);
        self.heads[number as usize].len -= removed as u16;
        removed
    }

    fn split(&mut self, hash: u64) -> Result<(), PageFull> {
        let low = self.number_of(hash);
        let depth = self.heads[low as usize].depth;
        if u32::from(depth) == self.depth {
            if self.depth == self.depth_max {
                return Err(PageFull);
            }
            self.double();
        }
        let (first, width) = self.span_of(hash);
        let high = self.take_page(depth + 1);
        self.directory[first + width / 2..first + width].fill(high);
        let slots = self.take_slots(low);
        self.heads[low as usize].depth = depth + 1;
        self.add_all(&slots);
        Ok(())
    }

    fn double(&mut self) {
        let mut directory = Vec::with_capacity(self.directory.len() * 2);
        directory.extend(self.directory.iter().flat_map(|page| [*page, *page]));
        self.directory = directory;
        self.depth += 1;
    }

    /// Joins the page at a span of the directory with its other half, if both are nearly empty.
    fn merge(&mut self, first: usize, width: usize) {
        let other = first ^ width;
        let Some(&buddy) = self.directory.get(other) else { return };
        let page = self.directory[first];
        let (ours, theirs) = (self.heads[page as usize], self.heads[buddy as usize]);
        if ours.depth != theirs.depth || usize::from(ours.len + theirs.len) > MERGE {
            return;
        }
        let slots = self.take_slots(buddy);
        self.directory[other..other + width].fill(page);
        self.heads[page as usize].depth -= 1;
        self.give_page(buddy);
        self.add_all(&slots);
    }

    /// Empties a page; gives what it was.
    fn take_slots(&mut self, number: u32) -> Page<K, V> {
        self.heads[number as usize].len = 0;
        std::mem::replace(self.page_mut(number), Page::empty())
    }

    fn add_all(&mut self, slots: &Page<K, V>) {
        for slot in slots.slots() {
            let hash = self.hash(&slot.key);
            self.add(self.number_of(hash), hash, *slot);
        }
    }

    /// Takes an empty page.
    fn take_page(&mut self, depth: u8) -> u32 {
        if self.unused.is_empty() {
            let first = self.heads.len();
            self.heads.resize(first + CHUNK, Head::default());
            self.chunks.push(Box::default());
            self.unused.extend((first as u32..).take(CHUNK));
        }
        let number = self.unused.pop().expect("a chunk has just been added if there was none");
        let chunk = &mut self.chunks[number as usize / CHUNK];
        if chunk.is_empty() {
            *chunk = vec![Page::empty(); CHUNK].into_boxed_slice();
        }
        self.heads[number as usize] = Head { len: 0, depth, is_used: true };
        number
    }

    /// Gives back an empty page.
    fn give_page(&mut self, number: u32) {
        self.heads[number as usize].is_used = false;
        self.unused.push(number);
        let chunk = number as usize / CHUNK;
        let heads = &self.heads[chunk * CHUNK..(chunk + 1) * CHUNK];
        if heads.iter().all(|head| !head.is_used) {
            self.chunks[chunk] = Box::default();
        }
    }
}

/// What the hash depends on: what a key is mixed with first, and the rest.
#[derive(Debug)]
struct Seed(u64, SharedSeed);

#[inline]
fn hash_by<K: Hash>(seed: &Seed, key: &K) -> u64 {
    let mut hasher = FoldHasher::with_seed(seed.0, &seed.1);
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::entry::Entry;
    use super::super::owners::OwnerId;
    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        /// Inserts keys that were never there.
        Insert(usize),
        /// Removes the keys whose hash begins with these bits, by sweeping some pages.
        Remove { prefix: u64, bits: u32, pages: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        let remove = (any::<u64>(), 0..6_u32, 0..100_usize)
            .prop_map(|(prefix, bits, pages)| Op::Remove { prefix, bits, pages });
        prop_oneof![(1..3000_usize).prop_map(Op::Insert), remove.clone(), remove]
    }

    fn slot(key: u64) -> Slot<u64, Entry> {
        Slot { key, value: Entry::learned(OwnerId::LOCAL, 0) }
    }

    /// Asserts that all keys are found, and that nothing else is there.
    fn check(pages: &Pages<u64, Entry>, keys: &BTreeSet<u64>) {
        assert!(keys.iter().all(|key| pages.find(key).is_some()));
        let mut number_of_slots = 0;
        let (mut index, mut cursor) = (0, 0);
        while index < pages.directory.len() {
            let (first, width) = pages.span_of(cursor);
            let number = pages.directory[first];
            assert_eq!(first, index, "a span begins where the one before ends");
            assert!(pages.directory[first..first + width].iter().all(|other| *other == number));
            let slots = pages.page(number).slots().count();
            assert_eq!(slots, usize::from(pages.heads[number as usize].len));
            number_of_slots += slots;
            index += width;
            cursor = pages.start_of(index);
        }
        assert_eq!(number_of_slots, keys.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pages_split_and_merge_without_losing_a_key(ops in prop::collection::vec(op(), 1..20)) {
            let mut pages = Pages::new(100_000, 7);
            let mut keys = BTreeSet::new();
            let mut next = 0;
            let mut cursor = 0;
            for op in ops {
                match op {
                    Op::Insert(count) => {
                        for key in next..next + count as u64 {
                            pages.insert(slot(key), |_| false).unwrap();
                            keys.insert(key);
                        }
                        next += count as u64;
                    }
                    Op::Remove { prefix, bits, pages: count } => {
                        let seed = Seed(7, SharedSeed::from_u64(7));
                        for _ in 0..count {
                            let is_dead = |slot: &Slot<u64, Entry>| {
                                let differ = hash_by(&seed, &slot.key) ^ prefix;
                                let is_dead = differ.leading_zeros() >= bits;
                                is_dead && keys.remove(&slot.key)
                            };
                            cursor = pages.sweep(cursor, is_dead).1;
                        }
                    }
                }
                check(&pages, &keys);
            }
        }
    }

    #[test]
    fn memory_goes_back_when_pages_are_unused() {
        let mut pages = Pages::new(100_000, 7);
        for round in 0..3 {
            for key in 0..50_000 {
                pages.insert(slot(key + round), |_| false).unwrap();
            }
            let mut cursor = 0;
            for _ in 0..2 * pages.slots() / SLOTS {
                cursor = pages.sweep(cursor, |_| true).1;
            }
            assert_eq!(pages.slots(), SLOTS);
            assert_eq!(pages.chunks.iter().filter(|chunk| !chunk.is_empty()).count(), 1);
        }
        assert!(pages.heads.len() <= 50_000 / FULL * 3);
    }
}
