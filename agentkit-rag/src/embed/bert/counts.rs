//! A small memory of how many tokens a word has, since chunking counts the same words over and over.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Words remembered; a power of two, half a megabyte.
const SLOTS: usize = 1 << 16;
/// Bits of a slot that hold the count; the others hold the word's hash.
const COUNT_BITS: u32 = 8;

/// A table without locks in which a word may displace another one.
///
/// A slot is the upper 56 bits of the word's hash and the count, and its place is the lower bits, so two words are
/// confused only if all 64 bits agree; the hash is keyed at random.
#[derive(Debug)]
pub(super) struct Counts {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Counts {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

impl Counts {
    /// What `count` says of `word`, remembered if it is small.
    pub(super) fn get_or(&self, word: &str, count: impl FnOnce(&str) -> usize) -> usize {
        let hash = self.hasher.hash_one(word);
        let place = usize::try_from(hash % SLOTS as u64).unwrap_or_default();
        let Some(slot) = self.slots.get(place) else { return count(word) };
        let mask = (1 << COUNT_BITS) - 1;
        let found = slot.load(Ordering::Relaxed);
        // Counts are kept one higher, so that an empty slot is never a hit.
        match found & mask {
            kept if kept > 0 && found & !mask == hash & !mask => {
                usize::try_from(kept - 1).unwrap_or_default()
            }
            _ => {
                let fresh = count(word);
                if let Some(kept) = u64::try_from(fresh).ok().filter(|fresh| *fresh < mask) {
                    slot.store(hash & !mask | (kept + 1), Ordering::Relaxed);
                }
                fresh
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_counted_once_and_large_counts_are_not_cut() {
        let counts = Counts::default();
        assert_eq!(counts.get_or("three", |_| 3), 3);
        assert_eq!(counts.get_or("three", |_| panic!("it is remembered")), 3);
        assert_eq!(counts.get_or("none", |_| 0), 0);
        assert_eq!(counts.get_or("none", |_| panic!("it is remembered")), 0);
        assert_eq!(counts.get_or("many", |_| 1000), 1000);
        assert_eq!(counts.get_or("many", |_| 1001), 1001);
    }
}
