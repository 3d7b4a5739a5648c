//! The exact best of many slots: codes first, then the rows of those that can still be among the best.
//!
//! [`codes`](super::super::vectors::codes) has the proof that nothing is missed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::index::kernel::{self, Line};
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::{Interval, Query, Scale, scaled};

/// Slots whose codes are looked at together.
pub(super) const BATCH: usize = 64;

/// Collects the slots that can be among the best `limit`.
pub(super) struct Scan<'s> {
    vectors: &'s Vectors,
    query: &'s Query<'s>,
    slack: f32,
    limit: usize,
    kept: Vec<(Interval, u32)>,
    /// The `limit`-th best of the low ends so far, from time to time.
    threshold: f32,
    /// Distances computed.
    pub(super) evaluations: u64,
}

impl<'s> Scan<'s> {
    pub(super) fn new(vectors: &'s Vectors, query: &'s Query<'s>, limit: usize) -> Self {
        let (slack, limit) = (query.slack(vectors.bound()), limit.max(1));
        Self { vectors, query, slack, limit, kept: Vec::new(), threshold: f32::NEG_INFINITY, evaluations: 0 }
    }

    /// Looks at the codes of slots; those without a vector do not count.
    pub(super) fn offer(&mut self, slots: &[u32]) {
        for slots in slots.chunks(BATCH) {
            self.offer_batch(slots);
        }
    }

    fn offer_batch(&mut self, slots: &[u32]) {
        let mut rows: [&[Line]; BATCH] = [&[]; BATCH];
        let mut scales = [Scale::default(); BATCH];
        if let Some(run) = self.vectors.run(slots) {
            for (((row, lines), place), scale) in
                rows.iter_mut().zip(run.rows()).zip(&mut scales).zip(run.scales)
            {
                (*row, *place) = (lines, *scale);
            }
            self.offer_rows(slots, &rows, &scales);
            return;
        }
        let mut present = [0; BATCH];
        let mut count = 0;
        for slot in slots {
            let Some((lines, scale)) = self.vectors.codes(*slot) else { continue };
            if let (Some(row), Some(place), Some(of)) =
                (rows.get_mut(count), scales.get_mut(count), present.get_mut(count))
            {
                (*row, *place, *of) = (lines, scale, *slot);
                count += 1;
            }
        }
        self.offer_rows(present.get(..count).unwrap_or_default(), &rows, &scales);
    }

    /// Looks at the codes of as many rows as there are slots.
    fn offer_rows(&mut self, slots: &[u32], rows: &[&[Line]; BATCH], scales: &[Scale; BATCH]) {
        let mut products = [0; BATCH];
        kernel::dots(&self.query.codes, rows.get(..slots.len()).unwrap_or_default(), &mut products);
        self.evaluations += slots.len() as u64;
        let mut intervals = [Interval::default(); BATCH];
        for ((interval, product), scale) in intervals.iter_mut().zip(products).zip(scales) {
            *interval = self.query.interval(scaled(product, scale.scale), *scale, self.slack);
        }
        for (slot, interval) in slots.iter().zip(intervals) {
            self.keep(*slot, interval);
        }
    }

    /// Takes a slot whose codes have been looked at.
    pub(super) fn take(&mut self, slot: u32, scaled: f32) {
        if let Some((_, scale)) = self.vectors.codes(slot) {
            self.keep(slot, self.query.interval(scaled, scale, self.slack));
        }
    }

    #[inline]
    fn keep(&mut self, slot: u32, interval: Interval) {
        if interval.high >= self.threshold {
            self.kept.push((interval, slot));
            if self.kept.len() >= 2 * self.limit + BATCH {
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        let by_low = |a: &(Interval, u32), b: &(Interval, u32)| b.0.low.total_cmp(&a.0.low);
        if self.kept.len() > self.limit {
            let (_, last, _) = self.kept.select_nth_unstable_by(self.limit - 1, by_low);
            self.threshold = self.threshold.max(last.0.low);
            self.kept.retain(|(interval, _)| interval.high >= self.threshold);
        }
    }

    /// The best slots with their scores, all that tie with the last among them, in no particular order.
    pub(super) fn finish(mut self) -> (Vec<(u32, f32)>, u64) {
        self.shrink();
        self.kept.sort_unstable_by(|a, b| b.0.high.total_cmp(&a.0.high).then(a.1.cmp(&b.1)));
        let mut scored: Vec<(u32, f32)> = Vec::new();
        let mut best: BinaryHeap<Reverse<Total>> = BinaryHeap::new();
        let mut worst = f32::NEG_INFINITY;
        for (interval, slot) in &self.kept {
            if interval.high < worst {
                break;
            }
            let score = self.query.score(self.vectors.row(*slot));
            self.evaluations += 1;
            scored.push((*slot, score));
            best.push(Reverse(Total(score)));
            if best.len() > self.limit {
                best.pop();
            }
            if best.len() == self.limit {
                worst = best.peek().map_or(worst, |Reverse(Total(score))| *score);
            }
        }
        scored.retain(|(_, score)| *score >= worst);
        (scored, self.evaluations)
    }
}

/// A score in its total order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Total(f32);

impl Eq for Total {}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
