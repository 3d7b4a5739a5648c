//! Building: distinct vectors go through `hnsw_rs`, whose links are then copied out.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use agentkit_core::{Error, Result, RunContext};
use hnsw_rs::anndists::dist::distances::Distance;
use hnsw_rs::hnsw::Hnsw;

use super::{Graph, Lists};
use crate::index::dense::dot;
use crate::index::vectors::Vectors;

/// Links of a node on the upper layers; twice as many on layer 0.
const MAX_LINKS: usize = 16;
/// Breadth of the search for a new node's neighbours.
const EF_CONSTRUCTION: usize = 200;
const MAX_LAYERS: usize = 16;

/// One minus the cosine of unit vectors, never negative as `hnsw_rs` requires.
#[derive(Debug, Clone, Copy, Default)]
struct UnitCosine;

impl Distance<f32> for UnitCosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

impl Graph {
    /// Builds the graph of all `vectors`, on this thread and in the order of the slots, so that the result is
    /// the same every time. Takes about a millisecond a vector.
    ///
    /// # Errors
    /// Stopped, or internal if `hnsw_rs` panicked.
    pub(in crate::index) fn build(vectors: &Vectors, ctx: &RunContext) -> Result<Self> {
        let built = catch_unwind(AssertUnwindSafe(|| build(vectors, ctx)));
        built.unwrap_or_else(|_| Err(Error::internal("the graph builder panicked")))
    }
}

fn build(vectors: &Vectors, ctx: &RunContext) -> Result<Graph> {
    let slots =
        u32::try_from(vectors.len()).map_err(|_| Error::internal("too many vectors for one graph"))?;
    let nodes = distinct(vectors, slots);
    if nodes.is_empty() {
        // hnsw_rs panics when it is asked for the points of an empty graph.
        return Ok(Graph { slots, entry: 0, members: Lists::default(), layers: vec![Lists::default()] });
    }
    let hnsw = Hnsw::<f32, UnitCosine>::new(MAX_LINKS, nodes.len(), MAX_LAYERS, EF_CONSTRUCTION, UnitCosine);
    for (node, members) in nodes.iter().enumerate() {
        ctx.check()?;
        if let Some(first) = members.first() {
            hnsw.insert_slice((vectors.row(*first), node));
        }
    }
    Ok(frozen(&hnsw, &nodes, slots))
}

/// Groups slots by equal vectors, in the order of their first slot.
fn distinct(vectors: &Vectors, slots: u32) -> Vec<Vec<u32>> {
    let mut by_bits: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut nodes: Vec<Vec<u32>> = Vec::new();
    for slot in (0..slots).filter(|slot| !vectors.row(*slot).is_empty()) {
        let bits = vectors.row(slot).iter().map(|component| component.to_bits()).collect();
        let node = *by_bits.entry(bits).or_insert(nodes.len());
        match nodes.get_mut(node) {
            Some(members) => members.push(slot),
            None => nodes.push(vec![slot]),
        }
    }
    nodes
}

/// Copies the links out of `hnsw_rs`.
fn frozen(hnsw: &Hnsw<'_, f32, UnitCosine>, nodes: &[Vec<u32>], slots: u32) -> Graph {
    let mut links: Vec<Vec<Vec<u32>>> = vec![Vec::new(); nodes.len()];
    let mut entry = (0, 0);
    for point in hnsw.get_point_indexation() {
        let node = point.get_origin_id();
        let layer = point.get_point_id().0;
        if layer > entry.0 {
            entry = (layer, u32::try_from(node).unwrap_or_default());
        }
        if let Some(links) = links.get_mut(node) {
            *links = point.get_neighborhood_id().iter().map(|layer| numbers(layer)).collect();
        }
    }
    let layer_count = usize::from(entry.0) + 1;
    let layers = (0..layer_count).map(|layer| {
        let mut lists = Lists::default();
        for links in &links {
            lists.push(links.get(layer).map(Vec::as_slice).unwrap_or_default());
        }
        lists
    });
    let layers = layers.collect();
    let mut members = Lists::default();
    for slots in nodes {
        members.push(slots);
    }
    Graph { slots, entry: entry.1, members, layers }
}

fn numbers(neighbours: &[hnsw_rs::hnsw::Neighbour]) -> Vec<u32> {
    neighbours.iter().filter_map(|neighbour| u32::try_from(neighbour.d_id).ok()).collect()
}
