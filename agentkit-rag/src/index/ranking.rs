//! Scored chunks: their one order, and the best of many.

use std::cmp::Ordering;

use agentkit_core::RunContext;
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

/// A scored chunk.
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
