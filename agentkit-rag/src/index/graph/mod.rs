//! The approximate leg: an immutable HNSW graph over the first slots of a partition.
//!
//! The graph is derived data (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
//! Hierarchical Navigable Small World graphs", 2018). A builder links its nodes; the finished graph is
//! frozen into flat arrays with a search of its own, and kept in a checksummed file. It holds no vectors: those are
//! the partition's. Slots after the graph's last are scanned exactly by the caller until the next graph is built.
//!
//! Always true: equal vectors share one node, nodes are in the order of their first slots, neighbours are node numbers
//! below `nodes`, a node's slots are below `slots`, and every node of a layer is on the layers below it.

mod build;
mod file;
mod near;
mod search;

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use self::near::Scratch;
use super::vectors::Vectors;

pub(super) use self::build::{Batched, Builder, HnswRs};
pub(super) use self::file::{encode, parse, with_checksum};
pub(super) use self::search::{End, GraphSearch};

/// Links of a node on the upper layers.
const MAX_LINKS: usize = 16;
/// Links of a node on layer 0.
const BASE_LINKS: usize = 2 * MAX_LINKS;
/// More nodes than this have no numbers that a search can order.
const MOST_NODES: u32 = u32::MAX / 2;
/// Searches' working memories kept for the next ones.
const POOL: usize = 16;

/// A frozen graph.
#[derive(Debug)]
pub(super) struct Graph {
    arrays: Arrays,
    pool: Mutex<Vec<Scratch>>,
}

/// How much a search through a graph takes, in quarters of what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Effort(NonZeroU32);

impl Effort {
    const USUAL: Self = Self(NonZeroU32::MIN.saturating_add(3));

    pub(super) fn of_quarters(quarters: u32) -> Option<Self> {
        NonZeroU32::new(quarters).map(Self)
    }

    fn quarters(self) -> u32 {
        self.0.get()
    }

    /// How many times the usual it is.
    pub(super) fn factor(self) -> f64 {
        f64::from(self.0.get()) / f64::from(Self::USUAL.0.get())
    }
}

/// What a graph is made of.
#[derive(Debug, Default, PartialEq)]
struct Arrays {
    /// Slots covered: all below this number.
    slots: u32,
    /// What a search takes to find enough; nothing if none that pays does.
    effort: Option<Effort>,
    /// Slots of each node, by node.
    members: Lists,
    /// The first slot of each node.
    heads: Vec<u32>,
    /// Neighbours of each node on layer 0.
    base: Vec<Links>,
    /// The layers above, from layer 1 up.
    upper: Vec<Layer>,
}

/// A node's neighbours on layer 0, filled up with the node itself, on cache lines of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
struct Links([u32; BASE_LINKS]);

/// An upper layer: few nodes, which know each other by their places in `nodes`.
#[derive(Debug, Default, PartialEq)]
struct Layer {
    /// Node numbers, ascending.
    nodes: Vec<u32>,
    /// Each node's place on the layer below; on layer 1 the node number.
    below: Vec<u32>,
    /// Neighbours' places by place.
    links: Lists,
}

impl Graph {
    fn new(arrays: Arrays) -> Self {
        Self { arrays, pool: Mutex::default() }
    }

    /// Number of slots covered; all later ones are not in the graph.
    pub(super) fn slots(&self) -> u32 {
        self.arrays.slots
    }

    /// What a search through the graph takes, or `None` if a scan is better.
    pub(super) fn effort(&self) -> Option<Effort> {
        self.arrays.effort
    }

    /// The same graph with another effort.
    pub(super) fn with_effort(mut self, effort: Option<Effort>) -> Self {
        self.arrays.effort = effort;
        self
    }

    /// The nodes that are on layer 0 alone.
    pub(super) fn lowest_nodes(&self) -> impl Iterator<Item = u32> {
        let upper = self.arrays.upper.first().map_or(&[][..], |layer| layer.nodes.as_slice());
        let nodes = 0..u32::try_from(self.arrays.heads.len()).unwrap_or(u32::MAX);
        nodes.filter(|node| upper.binary_search(node).is_err())
    }

    /// The slots of a node, which all have the same vector.
    pub(super) fn slots_of(&self, node: u32) -> &[u32] {
        self.arrays.members.get(node as usize)
    }

    /// Number of slots that have a node.
    pub(super) fn members(&self) -> usize {
        self.arrays.members.values.len()
    }

    /// Whether every node still has its vector: false if some were dropped after the graph was built.
    pub(super) fn fits(&self, vectors: &Vectors) -> bool {
        self.arrays.heads.iter().all(|slot| vectors.codes(*slot).is_some())
    }

    fn scratch(&self) -> Scratch {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, scratch: Scratch) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOL {
            pool.push(scratch);
        }
    }
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        self.arrays == other.arrays
    }
}

impl Arrays {
    /// Puts the arrays together: neighbours by node for every layer, layer 0 first; `None` if they do not fit.
    ///
    /// Upper layers come as the nodes on them with their neighbours' node numbers.
    fn new(slots: u32, members: Lists, base: Vec<Links>, upper: Vec<(Vec<u32>, Lists)>) -> Option<Self> {
        let heads =
            (0..members.len()).map(|node| members.get(node).first().copied()).collect::<Option<Vec<_>>>()?;
        if !heads.is_sorted() || base.len() != heads.len() || heads.len() > MOST_NODES as usize {
            return None;
        }
        let mut layers: Vec<Layer> = Vec::with_capacity(upper.len());
        for (nodes, links) in upper {
            let layer = Layer::new(nodes, &links, layers.last(), heads.len())?;
            layers.push(layer);
        }
        Some(Self { slots, effort: Some(Effort::USUAL), members, heads, base, upper: layers })
    }
}

impl Links {
    const EMPTY: Self = Self([0; BASE_LINKS]);

    fn new(node: usize, neighbours: &[u32]) -> Option<Self> {
        let mut links = [u32::try_from(node).ok()?; BASE_LINKS];
        links.get_mut(..neighbours.len())?.copy_from_slice(neighbours);
        Some(Self(links))
    }

    /// The neighbours of `node`, whose links these are.
    fn of(&self, node: u32) -> &[u32] {
        let filled = self.0.iter().rev().take_while(|neighbour| **neighbour == node).count();
        self.0.get(..self.0.len() - filled).unwrap_or_default()
    }
}

impl Layer {
    fn new(nodes: Vec<u32>, links: &Lists, lower: Option<&Layer>, count: usize) -> Option<Self> {
        let ascending =
            nodes.is_sorted_by(|a, b| a < b) && nodes.last().is_some_and(|last| (*last as usize) < count);
        if !ascending || links.len() != nodes.len() {
            return None;
        }
        let place = |nodes: &[u32], node: &u32| u32::try_from(nodes.binary_search(node).ok()?).ok();
        let below = match lower {
            Some(lower) => nodes.iter().map(|node| place(&lower.nodes, node)).collect::<Option<Vec<_>>>()?,
            None => nodes.clone(),
        };
        let mut local = Lists::default();
        for at in 0..links.len() {
            let places = links.get(at).iter().map(|node| place(&nodes, node));
            local.push(&places.collect::<Option<Vec<_>>>()?);
        }
        Some(Self { nodes, below, links: local })
    }
}

/// Many short lists of numbers in two flat arrays.
#[derive(Debug, Clone, Default, PartialEq)]
struct Lists {
    /// Where each list ends; it begins where the one before ends.
    ends: Vec<u32>,
    values: Vec<u32>,
}

impl Lists {
    fn push(&mut self, list: &[u32]) {
        self.values.extend_from_slice(list);
        self.ends.push(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, at: usize) -> &[u32] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        let end = self.ends.get(at).map_or(start, |end| *end as usize);
        self.values.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
