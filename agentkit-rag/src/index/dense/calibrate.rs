//! How much effort a graph needs, measured against the scan on its own vectors.
//!
//! How far a search has to look depends on the data: vectors of text lie in clusters, those of random words have hardly any
//! neighbours. So searches are made for vectors of the graph itself, each hidden from its own search as if it had
//! never been there. The planner's constants are the least effort; a graph that needs more says so, and one that needs
//! more than pays is not used. The recall stated is that of the data at hand, for queries that are like what is stored.

use agentkit_core::{Result, RunContext};

use super::planner::{Dense, Planner};
use crate::index::filter::Bitmap;
use crate::index::graph::{Effort, Graph};
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::Query;

/// Searches measured with.
const QUERIES: usize = 300;
/// Results asked for.
const LIMIT: usize = 10;
/// Share of the true results that must be found.
const RECALL: f64 = 0.98;
/// Efforts tried, in turn, in quarters of the usual. More would be no cheaper than a scan but in the largest collections.
const QUARTERS: [u32; 10] = [4, 5, 6, 7, 8, 10, 12, 16, 24, 32];

/// The graph with the least effort that finds enough, or none.
///
/// # Errors
/// Stopped.
pub(in crate::index) fn calibrated(graph: Graph, vectors: &Vectors, ctx: &RunContext) -> Result<Graph> {
    let sample = Sample::new(&graph, vectors, ctx)?;
    let mut sufficient = None;
    for effort in QUARTERS.into_iter().filter_map(Effort::of_quarters) {
        if sample.recall(&graph, effort)? >= RECALL {
            sufficient = Some(effort);
            break;
        }
    }
    Ok(graph.with_effort(sufficient))
}

/// Nodes whose vectors are searched for, with what each search should find.
struct Sample<'s> {
    vectors: &'s Vectors,
    covered: Bitmap,
    expected: Vec<(u32, Vec<u32>)>,
    ctx: &'s RunContext,
}

impl<'s> Sample<'s> {
    fn new(graph: &Graph, vectors: &'s Vectors, ctx: &'s RunContext) -> Result<Self> {
        let mut covered = Bitmap::empty(u32::try_from(vectors.len()).unwrap_or(u32::MAX));
        for slot in (0..graph.slots()).filter(|slot| vectors.codes(*slot).is_some()) {
            covered.insert(slot);
        }
        let mut sample = Self { vectors, covered, expected: Vec::new(), ctx };
        // Nodes of the upper layers are on the way of too many searches to be hidden.
        let nodes: Vec<u32> = graph.lowest_nodes().collect();
        for node in nodes.iter().step_by((nodes.len() / QUERIES).max(1)).take(QUERIES) {
            let mut others = sample.covered.clone();
            graph.slots_of(*node).iter().for_each(|slot| others.remove(*slot));
            let found = sample.search(graph, *node, &Planner::DEFAULT, Some(&others))?;
            sample.expected.push((*node, found));
        }
        Ok(sample)
    }

    fn recall(&self, graph: &Graph, effort: Effort) -> Result<f64> {
        let planner = Planner::DEFAULT.at(effort);
        let (mut found, mut wanted) = (0_u32, 0_u32);
        for (node, expected) in &self.expected {
            let slots = self.search(graph, *node, &planner, None)?;
            found += count(expected.iter().filter(|slot| slots.contains(slot)));
            wanted += count(expected.iter());
        }
        Ok(if wanted == 0 { 1.0 } else { f64::from(found) / f64::from(wanted) })
    }

    /// The slots nearest to a node: by a scan of those given, or else through the graph.
    fn search(
        &self,
        graph: &Graph,
        node: u32,
        planner: &Planner,
        scanned: Option<&Bitmap>,
    ) -> Result<Vec<u32>> {
        self.ctx.check()?;
        let row = graph.slots_of(node).first().map_or(&[][..], |slot| self.vectors.row(*slot));
        let (query, hidden) = (Query::new(row), Some(node));
        let graph = Some(graph).filter(|_| scanned.is_none());
        let dense =
            Dense { vectors: self.vectors, graph, query: &query, limit: LIMIT, hidden, ctx: self.ctx };
        let mut scored = planner.search(&dense, scanned.unwrap_or(&self.covered))?.scored;
        scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(scored.into_iter().take(LIMIT).map(|(slot, _)| slot).collect())
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
