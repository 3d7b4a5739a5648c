//! The dense leg: nearest vectors, by exact scan or through the graph.
//!
//! Which of the two is decided from the exact number of matches and from what the graph was measured to need;
//! `docs/adr/0004-filtered-search.md` and `docs/adr/0017-calibrated-graphs.md` have the reasons and what was measured. Both end in the same exact rescoring, so the scores are those of the vectors, not of their
//! codes.
//!
//! Always true: a search finds `min(limit, matches)` chunks. A scan finds the best; a search through the graph that
//! runs out of nodes before it has its breadth gives way to a scan.

mod calibrate;
mod planner;
mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use agentkit_core::Result;

use self::scan::BATCH;
use super::filter::Bitmap;
use super::graph::Graph;
use super::kernel;
use super::ranking::{LegSearch, Scored, keep_best};
use super::vectors::Vectors;
use super::vectors::codes::Query;

pub(super) use self::calibrate::calibrated;
pub(super) use self::planner::{Dense, Matching, Planner};

/// Batches scanned between two looks at the context.
const BATCHES_BETWEEN_CHECKS: usize = 64;

/// The best `limit` of the `allowed` chunks by cosine with the unit vector `query`; `exact` asks for a scan.
pub(super) fn search(leg: LegSearch<'_>, query: &[f32], exact: bool) -> Result<Vec<Scored>> {
    let LegSearch { snapshot, limit, ctx, .. } = leg;
    let query = Query::new(query);
    let graph = snapshot.graph.as_deref().filter(|_| !exact);
    let (graph, planner) = planned(graph);
    let dense = Dense { vectors: &snapshot.vectors, graph, query: &query, limit, hidden: None, ctx };
    let outcome = planner.search(&dense, &leg)?;
    let placed = outcome.scored.into_iter().filter_map(|(slot, score)| {
        let address = snapshot.place(slot)?;
        let key = *snapshot.segments.get(address.segment_ord as usize)?.keys.get(address.doc_id as usize)?;
        Some(Scored { address, key, score })
    });
    Ok(keep_best(placed.collect(), limit))
}

/// The graph, if it is worth using, and the planner with the effort it takes.
pub(super) fn planned(graph: Option<&Graph>) -> (Option<&Graph>, Planner) {
    let effort = graph.and_then(Graph::effort);
    effort.map_or((None, Planner::DEFAULT), |effort| (graph, Planner::DEFAULT.at(effort)))
}

/// The chunks a leg may return, by the slots of their vectors.
impl Matching for LegSearch<'_> {
    fn count(&self) -> u64 {
        self.allowed.iter().map(Bitmap::count).sum()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u32])) -> Result<()> {
        let mut batches = 0;
        for (view, allowed) in self.snapshot.segments.iter().zip(self.allowed) {
            let mut batch = Vec::with_capacity(BATCH);
            for (slots, word) in view.slots.chunks(BATCH).zip(allowed.words()) {
                if batches % BATCHES_BETWEEN_CHECKS == 0 {
                    self.ctx.check()?;
                }
                batches += 1;
                if *word == u64::MAX {
                    visit(slots);
                    continue;
                }
                batch.extend(
                    slots.iter().enumerate().filter(|(at, _)| word >> at & 1 != 0).map(|(_, slot)| *slot),
                );
                if batch.len() >= BATCH {
                    visit(&batch);
                    batch.clear();
                }
            }
            visit(&batch);
        }
        Ok(())
    }

    fn slots(&self) -> Cow<'_, Bitmap> {
        if self.count() == self.snapshot.chunks() {
            return Cow::Borrowed(self.snapshot.live_slots());
        }
        Cow::Owned(self.snapshot.slots_of(self.allowed))
    }
}

/// The inner product; the cosine, since stored vectors and queries have norm 1.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    kernel::dot(a, b)
}

/// Scales `vector` to norm 1, or says why it cannot be.
pub(super) fn unit(mut vector: Vec<f32>, vectors: &Vectors) -> Result<Vec<f32>, String> {
    if vector.len() != vectors.dimension() {
        return Err(format!("it has {} components, the index has {}", vector.len(), vectors.dimension()));
    }
    let norm = dot(&vector, &vector).sqrt();
    if !(norm.is_finite() && norm > f32::MIN_POSITIVE) {
        return Err("it is zero or not finite, so it has no direction".into());
    }
    if (norm - 1.0).abs() > 1e-6 {
        for component in &mut vector {
            *component /= norm;
        }
    }
    Ok(vector)
}
