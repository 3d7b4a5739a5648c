//! Building: distinct vectors become nodes, a [`Builder`] finds their links, and the result is frozen.

mod batched;
mod hnsw_rs;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use agentkit_core::{Error, Result, RunContext};

use super::near::Points;
use super::{Arrays, Graph, Links, Lists};
use crate::index::vectors::Vectors;

pub(in crate::index) use self::batched::Batched;
pub(in crate::index) use self::hnsw_rs::HnswRs;

/// Breadth of the search for a new node's neighbours.
const EF_CONSTRUCTION: usize = 200;

/// Links nodes to those near them.
///
/// The links must depend on nothing but the points and their order, and there is at least one point. A builder may
/// panic; that becomes an error.
pub(in crate::index) trait Builder {
    fn link(&self, points: Points<'_>, ctx: &RunContext) -> Result<Linked>;
}

/// The links of all nodes.
#[derive(Debug)]
pub(in crate::index) struct Linked {
    /// On layer 0.
    pub(super) base: Vec<Links>,
    /// The nodes on each layer above, ascending, and their neighbours there.
    pub(super) upper: Vec<(Vec<u32>, Lists)>,
}

impl Graph {
    /// Builds the graph of all `vectors` with the usual builder on as many threads as the machine has cores, up to
    /// four; the result is the same with any number.
    ///
    /// # Errors
    /// Stopped, or internal if the builder panicked.
    pub(in crate::index) fn build(vectors: &Vectors, ctx: &RunContext) -> Result<Self> {
        Self::build_with(&Batched::default(), vectors, ctx)
    }

    /// The same with a builder of choice.
    ///
    /// # Errors
    /// Stopped, or internal if the builder panicked or its links are not those of a graph.
    pub(in crate::index) fn build_with(
        builder: &dyn Builder,
        vectors: &Vectors,
        ctx: &RunContext,
    ) -> Result<Self> {
        let built = catch_unwind(AssertUnwindSafe(|| build(builder, vectors, ctx)));
        built.unwrap_or_else(|_| Err(Error::internal("the graph builder panicked")))
    }
}

fn build(builder: &dyn Builder, vectors: &Vectors, ctx: &RunContext) -> Result<Graph> {
    let slots =
        u32::try_from(vectors.len()).map_err(|_| Error::internal("too many vectors for one graph"))?;
    let members = distinct(vectors, slots);
    if members.len() == 0 {
        return Ok(Graph::new(Arrays { slots, ..Arrays::default() }));
    }
    let heads: Vec<u32> = (0..members.len()).filter_map(|node| members.get(node).first().copied()).collect();
    let linked = builder.link(Points { vectors, heads: &heads }, ctx)?;
    let arrays = Arrays::new(slots, members, linked.base, linked.upper);
    arrays.map(Graph::new).ok_or_else(|| Error::internal("the graph that was built is not sound"))
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
