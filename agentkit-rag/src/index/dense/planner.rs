//! Choosing between scan and graph, and counting what the choice costs.

use std::borrow::Cow;

use agentkit_core::{Result, RunContext};

use super::scan::{BATCH, Scan};
use crate::index::filter::Bitmap;
use crate::index::graph::{Effort, End, Graph, GraphSearch};
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::Query;

/// Where nothing near matches, a search may cost this part of a scan before it gives way to one.
const SHARE_OF_SCAN: usize = 5;

/// When the graph is used, and how.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Planner {
    /// Least breadth of a graph search.
    pub(in crate::index) breadth: usize,
    /// Breadth for every result asked for.
    pub(in crate::index) breadth_per_result: f64,
    /// Nodes expanded in vain before a search ends, and for every result asked for.
    pub(in crate::index) patience: (usize, f64),
    /// Whether a filtered search does not begin where nearly nothing matches.
    pub(in crate::index) detects_barren: bool,
    /// Distances a graph search is expected to compute for each node of its breadth: with fewer matches than that, a
    /// scan is cheaper.
    pub(in crate::index) cost: usize,
    /// Above this breadth the scan is faster whatever the number of matches.
    pub(in crate::index) most_breadth: usize,
}

/// What to search in, and for what.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Dense<'s> {
    pub(in crate::index) vectors: &'s Vectors,
    /// The graph, unless a scan was asked for.
    pub(in crate::index) graph: Option<&'s Graph>,
    pub(in crate::index) query: &'s Query<'s>,
    pub(in crate::index) limit: usize,
    /// A node that is no result and leads nowhere, as if the graph had been built without it.
    pub(in crate::index) hidden: Option<u32>,
    pub(in crate::index) ctx: &'s RunContext,
}

/// The slots that may be found, and how many they are.
pub(in crate::index) trait Matching {
    fn count(&self) -> u64;

    /// Calls `visit` with all slots in turn, in pieces.
    fn for_each(&self, visit: &mut dyn FnMut(&[u32])) -> Result<()>;

    /// All slots as a set.
    fn slots(&self) -> Cow<'_, Bitmap>;
}

/// A set of slots is what it says.
impl Matching for Bitmap {
    fn count(&self) -> u64 {
        self.count()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u32])) -> Result<()> {
        in_batches(self.iter(), visit);
        Ok(())
    }

    fn slots(&self) -> Cow<'_, Bitmap> {
        Cow::Borrowed(self)
    }
}

/// What a search has found.
#[derive(Debug)]
pub(in crate::index) struct Outcome {
    /// The best slots with their exact scores, those that tie with the last among them.
    pub(in crate::index) scored: Vec<(u32, f32)>,
    /// Distances computed, of codes and of vectors.
    pub(in crate::index) evaluations: u64,
}

impl Planner {
    /// Measured on 35,000 embeddings of passages; see `docs/adr/0004-filtered-search.md`.
    pub(in crate::index) const DEFAULT: Self = Self {
        breadth: 64,
        breadth_per_result: 1.5,
        patience: (11, 0.5),
        detects_barren: true,
        cost: 10,
        most_breadth: 2000,
    };

    /// Always through the graph, with the given breadth and no less.
    pub(in crate::index) const fn always(breadth: usize) -> Self {
        let patience = (usize::MAX, 0.0);
        Self {
            breadth,
            breadth_per_result: 0.0,
            patience,
            detects_barren: false,
            cost: 0,
            most_breadth: usize::MAX,
        }
    }

    /// The same with breadth and patience for an effort.
    pub(in crate::index) fn at(&self, effort: Effort) -> Self {
        let factor = effort.factor();
        Self {
            breadth: times(self.breadth, factor),
            breadth_per_result: self.breadth_per_result * factor,
            patience: (times(self.patience.0, factor), self.patience.1 * factor),
            ..*self
        }
    }

    /// The best `limit` matches.
    ///
    /// # Errors
    /// Stopped.
    pub(in crate::index) fn search(&self, dense: &Dense<'_>, matching: &impl Matching) -> Result<Outcome> {
        let mut scan = Scan::new(dense.vectors, dense.query, dense.limit);
        let matches = matching.count();
        let breadth = self.breadth_for(dense.limit);
        let pays = matches > (self.cost * breadth) as u64 && breadth <= self.most_breadth;
        let graph = dense.graph.filter(|_| pays);
        if !graph.map_or(Ok(false), |graph| self.through(graph, dense, matching, &mut scan))? {
            matching.for_each(&mut |slots| scan.offer(slots))?;
        }
        let (scored, evaluations) = scan.finish();
        Ok(Outcome { scored, evaluations })
    }

    fn breadth_for(&self, limit: usize) -> usize {
        self.breadth.max(times(limit, self.breadth_per_result))
    }

    /// Searches the graph, and scans the slots after its last; false if the graph could not reach enough matches.
    fn through(
        &self,
        graph: &Graph,
        dense: &Dense<'_>,
        matching: &impl Matching,
        scan: &mut Scan<'_>,
    ) -> Result<bool> {
        let slots = matching.slots();
        let covered = slots.count_below(graph.slots());
        let (limit, breadth) = (dense.limit, self.breadth_for(dense.limit));
        let search = GraphSearch {
            vectors: dense.vectors,
            query: dense.query,
            breadth,
            limit,
            patience: self.patience.0.saturating_add(times(limit, self.patience.1)),
            detects_barren: self.detects_barren,
            allowed: (covered < graph.members() as u64).then_some(&*slots),
            hidden: dense.hidden,
            ctx: dense.ctx,
        };
        let mut found = graph.search(search)?;
        scan.evaluations += found.evaluations;
        if found.end == End::Barren {
            // What is near does not match. If only that is left out, a wider search gets beyond it.
            let affordable =
                usize::try_from(covered).unwrap_or(usize::MAX) / SHARE_OF_SCAN / self.cost.max(1);
            let wide = GraphSearch { breadth: affordable, patience: usize::MAX, allowed: None, ..search };
            if affordable < 2 * breadth || affordable > self.most_breadth {
                return Ok(false);
            }
            found = graph.search(wide)?;
            scan.evaluations += found.evaluations;
            found.slots.retain(|(slot, _)| slots.contains(*slot));
            if found.slots.len() < breadth {
                return Ok(false);
            }
        }
        if found.end == End::Exhausted && (found.slots.len() as u64) < covered {
            return Ok(false);
        }
        for (slot, scaled) in found.slots {
            scan.take(slot, scaled);
        }
        in_batches(slots.iter_from(graph.slots()), &mut |slots| scan.offer(slots));
        Ok(true)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "small"
)]
fn times(count: usize, factor: f64) -> usize {
    (count as f64 * factor) as usize
}

fn in_batches(slots: impl Iterator<Item = u32>, visit: &mut dyn FnMut(&[u32])) {
    let mut batch = Vec::with_capacity(BATCH);
    for slot in slots {
        batch.push(slot);
        if batch.len() == BATCH {
            visit(&batch);
            batch.clear();
        }
    }
    visit(&batch);
}
