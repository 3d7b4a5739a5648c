//! How much effort a graph needs, measured against the scan on queries made of its own vectors.
//!
//! How far a search has to look depends on the data: vectors of text lie in clusters, those of random words have hardly any
//! neighbours. The planner's constants are the least effort; a graph that needs more says so, and one that needs
//! more than a scan is not used. So the recall stated is that of the data at hand, for queries that lie between
//! stored vectors as those do here.

use std::num::NonZeroU32;

use agentkit_core::{Result, RunContext};

use super::planner::{Dense, Planner};
use crate::index::filter::Bitmap;
use crate::index::graph::Graph;
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::Query;

/// Queries measured with.
const QUERIES: usize = 200;
/// Results asked for.
const LIMIT: usize = 10;
/// Share of the true results that must be found.
const RECALL: f64 = 0.98;
/// Part of a second vector in each query.
const ASIDE: f32 = 0.5;
/// Efforts tried, in turn. More would be no cheaper than a scan but in the largest collections.
const EFFORTS: [u32; 6] = [1, 2, 3, 4, 6, 8];

/// The graph with the least effort that finds enough, or none.
///
/// # Errors
/// Stopped.
pub(in crate::index) fn calibrated(graph: Graph, vectors: &Vectors, ctx: &RunContext) -> Result<Graph> {
    let sample = Sample::new(&graph, vectors, ctx)?;
    let mut sufficient = None;
    for effort in EFFORTS.into_iter().filter_map(NonZeroU32::new) {
        if sample.recall(&graph, effort)? >= RECALL {
            sufficient = Some(effort);
            break;
        }
    }
    Ok(graph.with_effort(sufficient))
}

/// Queries with what they should find.
struct Sample<'s> {
    vectors: &'s Vectors,
    covered: Bitmap,
    queries: Vec<(Vec<f32>, Vec<u32>)>,
    ctx: &'s RunContext,
}

impl<'s> Sample<'s> {
    fn new(graph: &Graph, vectors: &'s Vectors, ctx: &'s RunContext) -> Result<Self> {
        let mut covered = Bitmap::empty(u32::try_from(vectors.len()).unwrap_or(u32::MAX));
        let slots: Vec<u32> = (0..graph.slots()).filter(|slot| vectors.codes(*slot).is_some()).collect();
        for slot in &slots {
            covered.insert(*slot);
        }
        let mut sample = Self { vectors, covered, queries: Vec::new(), ctx };
        for query in queries(vectors, &slots) {
            let expected = sample.search(&query, None, &Planner::DEFAULT)?;
            sample.queries.push((query, expected));
        }
        Ok(sample)
    }

    fn recall(&self, graph: &Graph, effort: NonZeroU32) -> Result<f64> {
        let planner = Planner::DEFAULT.times(effort);
        let (mut found, mut wanted) = (0_u32, 0_u32);
        for (query, expected) in &self.queries {
            let slots = self.search(query, Some(graph), &planner)?;
            found += count(expected.iter().filter(|slot| slots.contains(slot)));
            wanted += count(expected.iter());
        }
        Ok(if wanted == 0 { 1.0 } else { f64::from(found) / f64::from(wanted) })
    }

    fn search(&self, query: &[f32], graph: Option<&Graph>, planner: &Planner) -> Result<Vec<u32>> {
        self.ctx.check()?;
        let query = Query::new(query);
        let dense = Dense { vectors: self.vectors, graph, query: &query, limit: LIMIT, ctx: self.ctx };
        let mut scored = planner.search(&dense, &self.covered)?.scored;
        scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(scored.into_iter().take(LIMIT).map(|(slot, _)| slot).collect())
    }
}

/// Vectors spread over the slots, each moved towards another one far off in the order of slots.
fn queries(vectors: &Vectors, slots: &[u32]) -> Vec<Vec<f32>> {
    let step = (slots.len() / QUERIES).max(1);
    let pairs = slots.iter().step_by(step).zip(slots.iter().cycle().skip(slots.len() / 3 + 1).step_by(step));
    let queries = pairs.take(QUERIES).filter_map(|(near, aside)| {
        let (near, aside) = (vectors.row(*near), vectors.row(*aside));
        let query = near.iter().zip(aside).map(|(near, aside)| near + ASIDE * aside).collect();
        super::unit(query, vectors).ok()
    });
    queries.collect()
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
