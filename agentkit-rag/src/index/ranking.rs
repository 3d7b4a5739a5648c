//! Rankings of chunks: candidates, their one order, and the best of many.

use std::cmp::Ordering;

use agentkit_core::{LegExplanation, RunContext};
use tantivy::DocAddress;

use super::filter::Bitmap;
use super::snapshot::Snapshot;

/// What a leg searches: the allowed chunks of one snapshot.
#[derive(Clone, Copy)]
pub(super) struct LegSearch<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) allowed: &'s [Bitmap],
    /// Most chunks to find.
    pub(super) limit: usize,
    pub(super) ctx: &'s RunContext,
}

/// A chunk some part of a search has found.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) address: DocAddress,
    /// Orders chunks of equal score as their ids do.
    pub(super) key: u64,
    pub(super) score: f32,
    pub(super) legs: Vec<LegExplanation>,
}

/// A scored chunk before anything is known of its legs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub(super) address: DocAddress,
    pub(super) key: u64,
    pub(super) score: f32,
}

/// Best first: by score, then by chunk id.
pub(super) fn best_first(a: (f32, u64), b: (f32, u64)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Keeps the best `limit` of the scored chunks, best first.
pub(super) fn keep_best(mut scored: Vec<Scored>, limit: usize) -> Vec<Scored> {
    let order = |a: &Scored, b: &Scored| best_first((a.score, a.key), (b.score, b.key));
    if scored.len() > limit && limit > 0 {
        scored.select_nth_unstable_by(limit - 1, order);
        scored.truncate(limit);
    }
    scored.sort_unstable_by(order);
    scored
}

/// Collects scored items and tells the score below which an item can no longer be among the best.
#[derive(Debug)]
pub(super) struct Best<T> {
    limit: usize,
    threshold: f32,
    slack: f32,
    items: Vec<(f32, T)>,
}

impl<T> Best<T> {
    /// Keeps at least the best `limit`, and with them what scores within `slack` (relative) of the last.
    pub(super) fn new(limit: usize, slack: f32) -> Self {
        Self { limit: limit.max(1), threshold: f32::NEG_INFINITY, slack, items: Vec::new() }
    }

    /// Adds an item and returns the score from which on items still count.
    pub(super) fn add(&mut self, score: f32, item: T) -> f32 {
        if score >= self.threshold {
            self.items.push((score, item));
            if self.items.len() >= 2 * self.limit + 64 {
                self.shrink();
            }
        }
        self.threshold
    }

    pub(super) fn into_items(mut self) -> Vec<(f32, T)> {
        if self.items.len() > self.limit {
            self.shrink();
        }
        self.items
    }

    fn shrink(&mut self) {
        let (_, last, _) = self.items.select_nth_unstable_by(self.limit - 1, |a, b| b.0.total_cmp(&a.0));
        let threshold = last.0 - last.0.abs() * self.slack;
        self.threshold = self.threshold.max(threshold);
        self.items.retain(|(score, _)| *score >= threshold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_with_all_ties_of_the_last() {
        let mut best = Best::new(3, 0.0);
        for n in 0..1000 {
            let score = [5.0, 4.0, 1.0][n.min(2)];
            best.add(score, n);
        }
        let items = best.into_items();
        assert_eq!(items.len(), 1000, "all the ones tie with the third");
        let mut best = Best::new(3, 0.0);
        for n in 0..1000_u16 {
            best.add(f32::from(n), n);
        }
        let mut kept: Vec<_> = best.into_items().into_iter().map(|(_, n)| n).collect();
        kept.sort_unstable();
        assert_eq!(kept, [997, 998, 999]);
    }
}
