//! A map that is bounded in entries and in bytes, and forgets what was used longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The bounds of a [`Lru`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Entries at most.
    pub(crate) entries: usize,
    /// Bytes at most, as the entries were declared.
    pub(crate) bytes: usize,
}

/// The map.
pub(crate) struct Lru<K, V> {
    bounds: Bounds,
    entries: HashMap<K, Entry<V>>,
    /// The keys by the moment of their last use; moments are counted, not timed.
    by_use: BTreeMap<u64, K>,
    uses: u64,
    bytes: usize,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    /// An empty map.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0 }
    }

    /// The value, which counts as used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        if let Some(key) = self.by_use.remove(&entry.used) {
            self.uses += 1;
            entry.used = self.uses;
            self.by_use.insert(self.uses, key);
        }
        Some(&entry.value)
    }

    /// Adds or replaces a value that takes `bytes`, and forgets others until the bounds hold. A value beyond the bounds
    /// by itself is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if bytes > self.bounds.bytes {
            return;
        }
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { value, bytes, used: self.uses });
        while self.entries.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes -= entry.bytes;
            }
        }
    }

    /// Forgets a value.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut recent = Lru::new(Bounds { entries: 2, bytes: 100 });
        recent.insert("a", 1, 1);
        recent.insert("b", 2, 1);
        assert_eq!(recent.get(&"a"), Some(&1));
        recent.insert("c", 3, 1);
        assert_eq!(recent.get(&"b"), None);
        assert_eq!(recent.get(&"a"), Some(&1));
        assert_eq!(recent.get(&"c"), Some(&3));
    }

    #[test]
    fn a_value_beyond_the_bounds_evicts_nothing() {
        let mut recent = Lru::new(Bounds { entries: 2, bytes: 10 });
        recent.insert("a", 1, 10);
        recent.insert("b", 2, 11);
        assert_eq!(recent.get(&"a"), Some(&1));
        assert_eq!(recent.get(&"b"), None);
    }

    proptest! {
        #[test]
        fn the_bounds_hold_whatever_is_done(steps in prop::collection::vec((0u8..3, 0u8..12, 0usize..40), 0..200)) {
            let bounds = Bounds { entries: 5, bytes: 60 };
            let mut recent = Lru::new(bounds);
            for (step, key, bytes) in steps {
                match step {
                    0 => { recent.get(&key); }
                    1 => recent.insert(key, bytes, bytes),
                    _ => recent.remove(&key),
                }
                prop_assert!(recent.entries.len() <= bounds.entries);
                prop_assert!(recent.bytes <= bounds.bytes);
                prop_assert_eq!(recent.entries.len(), recent.by_use.len());
                prop_assert_eq!(recent.bytes, recent.entries.values().map(|entry| entry.bytes).sum::<usize>());
            }
        }
    }
}
