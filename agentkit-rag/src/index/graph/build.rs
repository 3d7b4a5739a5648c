//! Building: distinct vectors go through `hnsw_rs` as int8 codes, and the links are then copied out.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use agentkit_core::{Error, Result, RunContext};
use hnsw_rs::anndists::dist::distances::Distance;
use hnsw_rs::hnsw::{Hnsw, Neighbour};

use super::{Arrays, BASE_LINKS, Graph, Lists, MAX_LINKS};
use crate::index::kernel::{self, Line};
use crate::index::vectors::Vectors;

/// Breadth of the search for a new node's neighbours.
const EF_CONSTRUCTION: usize = 200;
const MAX_LAYERS: usize = 16;

/// One minus the cosine of unit vectors as their codes have it, never negative as `hnsw_rs` requires.
///
/// A point is the lines of its codes and one more, which begins with the scale.
#[derive(Debug, Clone, Copy, Default)]
struct CodeCosine;

impl Distance<Line> for CodeCosine {
    #[expect(clippy::cast_precision_loss, reason = "codes are an approximation already")]
    fn eval(&self, a: &[Line], b: &[Line]) -> f32 {
        let (Some((a_scale, a)), Some((b_scale, b))) = (a.split_last(), b.split_last()) else { return 1.0 };
        (1.0 - kernel::pair(a, b) as f32 * (scale(a_scale) * scale(b_scale))).max(0.0)
    }
}

fn scale(line: &Line) -> f32 {
    line.0.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
}

/// The codes of a slot with their scale, as [`CodeCosine`] reads them.
fn point(vectors: &Vectors, slot: u32, into: &mut Vec<Line>) {
    into.clear();
    let mut last = Line::ZERO;
    if let (Some((lines, codes)), Some(bytes)) = (vectors.codes(slot), last.0.first_chunk_mut()) {
        *bytes = codes.scale.to_le_bytes();
        into.extend_from_slice(lines);
    }
    into.push(last);
}

impl Graph {
    /// Builds the graph of all `vectors`, on this thread and in the order of the slots, so that the result is
    /// the same every time. Takes about half a millisecond a vector.
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
    let members = distinct(vectors, slots);
    if members.len() == 0 {
        // hnsw_rs panics when it is asked for the points of an empty graph.
        return Ok(Graph::new(Arrays { slots, ..Arrays::default() }));
    }
    let hnsw =
        Hnsw::<Line, CodeCosine>::new(MAX_LINKS, members.len(), MAX_LAYERS, EF_CONSTRUCTION, CodeCosine);
    let mut codes = Vec::new();
    for node in 0..members.len() {
        ctx.check()?;
        if let Some(first) = members.get(node).first() {
            point(vectors, *first, &mut codes);
            hnsw.insert_slice((&codes, node));
        }
    }
    frozen(&hnsw, members, slots).ok_or_else(|| Error::internal("the graph that was built is not sound"))
}

/// Groups slots by equal vectors, in the order of their first slot.
fn distinct(vectors: &Vectors, slots: u32) -> Lists {
    let mut by_hash: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut nodes: Vec<u32> = Vec::new();
    let mut later: HashMap<u32, Vec<u32>> = HashMap::new();
    for slot in 0..slots {
        let row = vectors.row(slot);
        if row.is_empty() {
            continue;
        }
        let alike = by_hash.entry(hash(row)).or_default();
        if let Some(first) = alike.iter().find(|first| same_bits(vectors.row(**first), row)) {
            later.entry(*first).or_default().push(slot);
        } else {
            alike.push(slot);
            nodes.push(slot);
        }
    }
    let mut members = Lists::default();
    let mut slots = Vec::new();
    for first in nodes {
        slots.clear();
        slots.push(first);
        slots.extend(later.get(&first).into_iter().flatten());
        members.push(&slots);
    }
    members
}

fn hash(row: &[f32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for component in row {
        hasher.write_u32(component.to_bits());
    }
    hasher.finish()
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().map(|component| component.to_bits()).eq(b.iter().map(|component| component.to_bits()))
}

/// Copies the links out of `hnsw_rs`; nothing if they are not those of a graph.
fn frozen(hnsw: &Hnsw<'_, Line, CodeCosine>, members: Lists, slots: u32) -> Option<Graph> {
    // Where hnsw_rs passes through layers above a node's own, it leaves a link there; those are no links of the node.
    let mut links: Vec<Vec<Vec<u32>>> = vec![Vec::new(); members.len()];
    for point in hnsw.get_point_indexation() {
        let layers = usize::from(point.get_point_id().0) + 1;
        let neighbours = point.get_neighborhood_id();
        *links.get_mut(point.get_origin_id())? =
            neighbours.iter().take(layers).map(|layer| numbers(layer)).collect();
    }
    let top = links.iter().map(Vec::len).max().unwrap_or(0);
    let mut base = Lists::default();
    for (node, links) in links.iter().enumerate() {
        let mut neighbours = links.first()?.clone();
        neighbours.retain(|neighbour| *neighbour as usize != node);
        neighbours.truncate(BASE_LINKS);
        base.push(&neighbours);
    }
    let upper = (1..top).map(|layer| on_layer(&links, layer));
    Arrays::new(slots, members, &base, upper.collect()).map(Graph::new)
}

/// The nodes of a layer and their neighbours on it.
fn on_layer(links: &[Vec<Vec<u32>>], layer: usize) -> (Vec<u32>, Lists) {
    let is_on_layer = |node: &u32| links.get(*node as usize).is_some_and(|links| links.len() > layer);
    let (mut nodes, mut lists) = (Vec::new(), Lists::default());
    for (node, links) in (0..).zip(links) {
        if let Some(neighbours) = links.get(layer) {
            nodes.push(node);
            lists.push(&neighbours.iter().copied().filter(is_on_layer).collect::<Vec<_>>());
        }
    }
    (nodes, lists)
}

fn numbers(neighbours: &[Neighbour]) -> Vec<u32> {
    neighbours.iter().filter_map(|neighbour| u32::try_from(neighbour.d_id).ok()).collect()
}
