//! A small open-addressed array: buckets of four slots, and no tombstones.
//!
//! A key is in the bucket that its hash names or, where that is full, in one of those behind it.
//! For MACs a bucket is a cache line, and searching it takes no branch that depends on memory, so
//! the processor fetches the lines of several lookups at once.

/// Slots of a page: small enough that splitting it takes a few microseconds.
pub(super) const SLOTS: usize = BUCKETS * BUCKET;

/// Slots that fill a page: 80 %, so that few buckets overflow.
pub(super) const FULL: usize = SLOTS * 4 / 5;

const BUCKETS: usize = 32;
const BUCKET: usize = 4;

const _: () = assert!(SLOTS == u128::BITS as usize, "a set of slots is a u128");

/// What a slot may hold beside its key.
pub(super) trait Value: Copy {
    /// What no used slot holds.
    const FREE: Self;

    fn is_free(&self) -> bool;
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<K, V> {
    pub(super) key: K,
    pub(super) value: V,
}

/// Used slots come before free ones.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket<K, V>([Slot<K, V>; BUCKET]);

#[derive(Clone, Copy, Debug)]
pub(super) struct Page<K, V>([Bucket<K, V>; BUCKETS]);

impl<K: Copy + Eq + Default, V: Value> Page<K, V> {
    pub(super) fn empty() -> Self {
        let slot = Slot { key: K::default(), value: V::FREE };
        Self([Bucket([slot; BUCKET]); BUCKETS])
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot<K, V>> {
        self.0.iter().flat_map(|bucket| &bucket.0).filter(|slot| !slot.value.is_free())
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &K) -> Option<&V> {
        let (bucket, slot) = self.position(hash, key)?;
        Some(&self.0[bucket].0[slot].value)
    }

    #[inline]
    pub(super) fn find_mut(&mut self, hash: u64, key: &K) -> Option<&mut V> {
        let (bucket, slot) = self.position(hash, key)?;
        Some(&mut self.0[bucket].0[slot].value)
    }

    /// Adds a slot whose key is not there, unless the page has no room at all.
    pub(super) fn insert(&mut self, hash: u64, slot: Slot<K, V>) {
        for offset in 0..BUCKETS {
            let bucket = &mut self.0[bucket_of(hash, offset)].0;
            if let Some(free) = bucket.iter_mut().find(|slot| slot.value.is_free()) {
                *free = slot;
                return;
            }
        }
    }

    /// Removes every slot that `is_dead` names; asks once for each. Gives how many.
    pub(super) fn remove_dead(
        &mut self,
        hash_of: impl Fn(&K) -> u64,
        mut is_dead: impl FnMut(&Slot<K, V>) -> bool,
    ) -> usize {
        let mut dead = 0_u128;
        for (at, slot) in self.slots().enumerate() {
            dead |= u128::from(is_dead(slot)) << at;
        }
        if dead == 0 {
            return 0;
        }
        let before = std::mem::replace(self, Self::empty());
        for (at, slot) in before.slots().enumerate() {
            if dead & 1 << at == 0 {
                self.insert(hash_of(&slot.key), *slot);
            }
        }
        dead.count_ones() as usize
    }

    #[inline]
    fn position(&self, hash: u64, key: &K) -> Option<(usize, usize)> {
        for offset in 0..BUCKETS {
            let at = bucket_of(hash, offset);
            let bucket = &self.0[at].0;
            let mut found = 0_u32;
            for (slot, bit) in bucket.iter().zip(0..) {
                found |= u32::from(slot.key == *key) << bit;
            }
            if found != 0 {
                // The default key is also in free slots: they come last, and end the search.
                let slot = found.trailing_zeros() as usize % BUCKET;
                return (!bucket[slot].value.is_free()).then_some((at, slot));
            }
            if bucket[BUCKET - 1].value.is_free() {
                return None;
            }
        }
        None
    }
}

/// The bucket in which the search for a hash begins, and those behind it. The lowest bits of the
/// hash, because pages split by the highest.
#[inline]
const fn bucket_of(hash: u64, offset: usize) -> usize {
    (hash as usize).wrapping_add(offset) % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::super::owners::OwnerId;
    use super::*;

    const KEYS: std::ops::Range<u64> = 0..FULL as u64;

    /// Few homes, so that buckets overflow, and around the end.
    fn crowded(key: &u64) -> u64 {
        29 + key % 3
    }

    fn full_page() -> Page<u64, Entry> {
        let mut page = Page::empty();
        for key in KEYS {
            let value = Entry::learned(OwnerId::LOCAL, key as u32);
            page.insert(crowded(&key), Slot { key, value });
        }
        page
    }

    #[test]
    fn what_overflows_its_bucket_is_found() {
        let page = full_page();
        for key in KEYS {
            assert_eq!(page.find(crowded(&key), &key).map(|entry| entry.seen), Some(key as u32));
        }
        assert_eq!(page.find(crowded(&1000), &1000), None);
        assert_eq!(page.slots().count(), FULL);
    }

    #[test]
    fn the_dead_are_removed_once_and_the_living_stay() {
        let mut page = full_page();
        let mut removed = Vec::new();
        let count = page.remove_dead(crowded, |slot| {
            let is_dead = slot.key % 3 == 0;
            removed.extend(is_dead.then_some(slot.key));
            is_dead
        });
        removed.sort_unstable();
        assert_eq!(removed, KEYS.filter(|key| key % 3 == 0).collect::<Vec<_>>());
        assert_eq!(count, removed.len());
        for key in KEYS {
            assert_eq!(page.find(crowded(&key), &key).is_some(), key % 3 != 0);
        }
    }

    #[test]
    fn removal_leaves_no_gap_before_a_slot() {
        for removed in KEYS {
            let mut page = full_page();
            assert_eq!(page.remove_dead(crowded, |slot| slot.key == removed), 1);
            for key in KEYS {
                assert_eq!(page.find(crowded(&key), &key).is_some(), key != removed);
            }
        }
    }

    #[test]
    fn a_free_slot_is_not_the_default_key() {
        let mut page = Page::<u64, Entry>::empty();
        assert_eq!(page.find(0, &0), None);
        for key in (0..6).rev() {
            assert_eq!(page.find(0, &0), None);
            page.insert(0, Slot { key, value: Entry::learned(OwnerId::LOCAL, 7) });
        }
        assert_eq!(page.find(0, &0).map(|entry| entry.seen), Some(7));
    }
}
