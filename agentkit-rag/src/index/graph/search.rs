//! Searching the frozen graph: greedily down the layers, then best-first with a bounded breadth.
//!
//! Distances are products of codes; the caller computes the exact scores of what is found. With a filter only nodes that
//! match are evaluated: where too few neighbours of a node match, the neighbours of those that do not are looked at in
//! their place, which costs no distances (the idea of ACORN: Patel et al., "ACORN: Performant and
//! Predicate-Agnostic Search Over Vector Embeddings and Structured Data", SIGMOD 2024). So a search never evaluates
//! more nodes than match, apart from the way down the layers. That way ends near the query, where possibly nothing
//! matches; some matching nodes, spread over the slots, are therefore starting points as well.

use agentkit_core::{Result, RunContext};

use super::near::{Points, Scratch, parts};
use super::{Arrays, BASE_LINKS, Graph};
use crate::index::filter::Bitmap;
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::Query;

/// Nodes expanded between two looks at the context.
const NODES_BETWEEN_CHECKS: usize = 256;
/// Matching nodes a filtered search starts from besides the nearest.
const SEEDS: usize = 16;
/// Signs that the surroundings of the query are barren: so many matches are expected among a node's neighbours, and
/// less than that part of them is there. The more are expected, the less is chance.
const NEXT_SIGNS: [(f64, f64); 1] = [(7.0, 0.5)];
/// The same for the neighbours' neighbours.
const SECOND_SIGNS: [(f64, f64); 2] = [(200.0, 0.75), (0.0, 0.5)];
/// Neighbours that match, the neighbours' neighbours included, after which a node is left.
const ENOUGH_LINKS: usize = 24;
/// With less than one match in so many, a scan is cheap enough to do without [`Walk::approach`].
const SMALL_SHARE: u64 = 5;
/// Most steps of [`Walk::approach`].
const STEPS: usize = 2;

/// What to search for.
#[derive(Clone, Copy)]
pub(in crate::index) struct GraphSearch<'s> {
    pub(in crate::index) vectors: &'s Vectors,
    pub(in crate::index) query: &'s Query<'s>,
    /// How many nodes to keep at most (ef in the paper): trades time for recall.
    pub(in crate::index) breadth: usize,
    /// How many of them are asked for.
    pub(in crate::index) limit: usize,
    /// The search ends once expanding so many nodes in a row has brought nothing into the best `limit`.
    pub(in crate::index) patience: usize,
    /// Whether not to begin where much fewer nodes match around the query than everywhere.
    pub(in crate::index) detects_barren: bool,
    /// The slots that match; all if there is none.
    pub(in crate::index) allowed: Option<&'s Bitmap>,
    /// A node that is no result and leads nowhere.
    pub(in crate::index) hidden: Option<u32>,
    pub(in crate::index) ctx: &'s RunContext,
}

/// What a search has found.
#[derive(Debug)]
pub(in crate::index) struct Found {
    /// Slots that match with the scaled product of their codes, nearer nodes first.
    pub(in crate::index) slots: Vec<(u32, f32)>,
    /// How the search ended.
    pub(in crate::index) end: End,
    /// Distances computed.
    pub(in crate::index) evaluations: u64,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) enum End {
    /// With what was asked for.
    Full,
    /// No more nodes could be reached.
    Exhausted,
    /// Not begun, since much fewer nodes match around the query than everywhere.
    Barren,
}

impl Graph {
    /// Slots near the query that match. What is found depends on nothing but the graph, the codes and the query.
    ///
    /// # Errors
    /// Stopped.
    pub(in crate::index) fn search(&self, search: GraphSearch<'_>) -> Result<Found> {
        let mut walk = Walk { graph: self, search, evaluations: 0, scratch: self.scratch() };
        let outcome = walk.run();
        let found = outcome.map(|end| walk.found(end));
        self.give_back(walk.scratch);
        found
    }
}

struct Walk<'s> {
    graph: &'s Graph,
    search: GraphSearch<'s>,
    evaluations: u64,
    scratch: Scratch,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<End> {
        self.search.ctx.check()?;
        let nodes = self.graph.arrays.heads.len();
        self.scratch.reset(nodes, self.search.breadth, self.search.limit);
        if nodes == 0 {
            return Ok(End::Exhausted);
        }
        if let Some(hidden) = self.search.hidden {
            self.scratch.see(hidden);
        }
        let start = self.descend();
        let start = self.approach(start);
        if self.is_barren(start) {
            return Ok(End::Barren);
        }
        if self.search.allowed.is_some() {
            self.seed();
        }
        if self.matches(start) {
            self.take(start);
        } else {
            self.neighbours(start);
        }
        self.evaluate();
        let mut expanded = 0;
        while let Some(node) = self.scratch.near.expand() {
            expanded += 1;
            if expanded % NODES_BETWEEN_CHECKS == 0 {
                self.search.ctx.check()?;
            }
            self.neighbours(node);
            self.evaluate();
            if self.scratch.near.idle >= self.search.patience {
                return Ok(End::Full);
            }
        }
        let full = self.scratch.near.nodes.len() >= self.search.breadth;
        Ok(if full { End::Full } else { End::Exhausted })
    }

    /// Whether around `start`, which does not match, much fewer nodes match than everywhere. This computes no
    /// distances.
    fn is_barren(&self, start: u32) -> bool {
        let Some(allowed) = self.search.allowed.filter(|_| self.search.detects_barren) else { return false };
        if self.matches(start) {
            return false;
        }
        let graph = self.graph;
        let links =
            |node: u32| graph.arrays.base.get(node as usize).map_or([node; BASE_LINKS], |links| links.0);
        let share = share(allowed.count_below(graph.slots()), u64::from(graph.slots()));
        let is_poor = |nodes: &mut dyn Iterator<Item = u32>, signs: &[(f64, f64)]| {
            let (mut count, mut matching) = (0_u64, 0_u64);
            for node in nodes {
                count += 1;
                matching += u64::from(self.matches(node));
            }
            let expected = share * f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            let matching = f64::from(u32::try_from(matching).unwrap_or(u32::MAX));
            signs.iter().any(|(least, part)| expected >= *least && matching < part * expected)
        };
        let mut neighbours = links(start).into_iter().filter(|node| *node != start);
        is_poor(&mut neighbours.clone(), &NEXT_SIGNS)
            || is_poor(&mut neighbours.by_ref().flat_map(links), &SECOND_SIGNS)
    }

    /// Walks greedily from the first node of the topmost layer to the nearest of layer 1.
    fn descend(&mut self) -> u32 {
        let graph = self.graph;
        let mut at = 0_u32;
        for layer in graph.arrays.upper.iter().rev() {
            let node = |place: &u32| layer.nodes.get(*place as usize).copied().unwrap_or_default();
            let mut best = self.scores(&[node(&at)])[0];
            loop {
                let places = layer.links.get(at as usize);
                let places = places.get(..BASE_LINKS).unwrap_or(places);
                let mut nodes = [0; BASE_LINKS];
                nodes.iter_mut().zip(places).for_each(|(into, place)| *into = node(place));
                let scores = self.scores(nodes.get(..places.len()).unwrap_or_default());
                let near = scores.into_iter().zip(places.iter().copied());
                match near.max_by_key(|(score, place)| (*score, std::cmp::Reverse(*place))) {
                    Some((score, place)) if score > best => (best, at) = (score, place),
                    _ => break,
                }
            }
            at = layer.below.get(at as usize).copied().unwrap_or_default();
        }
        at
    }

    /// Goes on from `start` on layer 0 for a few steps, whatever matches, when it matters whether the query's own place
    /// is barren: a scan of the many matches costs more than the steps.
    fn approach(&mut self, start: u32) -> u32 {
        let graph = self.graph;
        let Some(allowed) = self.search.allowed.filter(|_| self.search.detects_barren) else { return start };
        if allowed.count_below(graph.slots()) * SMALL_SHARE < u64::from(graph.slots()) {
            return start;
        }
        let (mut at, mut best) = (start, self.scores(&[start])[0]);
        for _ in 0..STEPS {
            let links = graph.arrays.base.get(at as usize).map_or([at; BASE_LINKS], |links| links.0);
            let mut fresh = links.to_vec();
            fresh.retain(|node| *node != at && !self.scratch.is_seen(*node));
            let scores = self.scores(&fresh);
            let mut nearest = (best, at);
            for (node, score) in fresh.into_iter().zip(scores) {
                if self.matches(node) && !self.scratch.see(node) {
                    self.scratch.near.add(score, node);
                }
                nearest = nearest.max((score, node));
            }
            if nearest.1 == at {
                break;
            }
            (best, at) = nearest;
        }
        at
    }

    /// The scores of at most [`BASE_LINKS`] nodes.
    fn scores(&mut self, nodes: &[u32]) -> [u32; BASE_LINKS] {
        self.evaluations += nodes.len() as u64;
        let GraphSearch { vectors, query, .. } = self.search;
        Points { vectors, heads: &self.graph.arrays.heads }.scores(&query.codes, nodes)
    }

    #[inline]
    fn matches(&self, node: u32) -> bool {
        let Some(allowed) = self.search.allowed else { return true };
        let Arrays { heads, members, .. } = &self.graph.arrays;
        let alone = members.values.len() == heads.len();
        heads.get(node as usize).is_some_and(|slot| allowed.contains(*slot))
            || (!alone && members.get(node as usize).iter().any(|slot| allowed.contains(*slot)))
    }

    /// Puts a node into the batch if it was not seen before.
    fn take(&mut self, node: u32) {
        if !self.scratch.see(node) {
            self.scratch.batch.push(node);
        }
    }

    fn seed(&mut self) {
        let heads = &self.graph.arrays.heads;
        let (Some(allowed), slots) = (self.search.allowed, self.graph.arrays.slots as usize) else { return };
        for seed in 0..SEEDS {
            let from = u32::try_from(seed * slots / SEEDS).unwrap_or(u32::MAX);
            // A slot that shares its vector with an earlier one has no node of its own; another seed will do.
            let slot = allowed.iter_from(from).next();
            if let Some(node) = slot.and_then(|slot| heads.binary_search(&slot).ok()) {
                self.take(u32::try_from(node).unwrap_or_default());
            }
        }
    }

    /// Puts the neighbours of `node` that match and were not seen into the batch.
    fn neighbours(&mut self, node: u32) {
        let graph = self.graph;
        let Some(links) = graph.arrays.base.get(node as usize) else { return };
        if self.search.allowed.is_none() {
            for neighbour in links.0 {
                self.take(neighbour);
            }
            return;
        }
        self.scratch.bridges.clear();
        let mut found = 0;
        for neighbour in links.0 {
            if self.matches(neighbour) {
                found += 1;
                self.take(neighbour);
            } else {
                self.scratch.bridges.push(neighbour);
            }
        }
        // Looking much further than the neighbours brings as much as expanding another node.
        self.scratch.near.idle += usize::from(self.scratch.bridges.len() > BASE_LINKS / 4);
        for at in 0..self.scratch.bridges.len() {
            let bridge = self.scratch.bridges.get(at).copied().unwrap_or_default();
            for neighbour in
                graph.arrays.base.get(bridge as usize).map_or([node; BASE_LINKS], |links| links.0)
            {
                if found >= ENOUGH_LINKS {
                    return;
                }
                if self.matches(neighbour) && !self.scratch.see(neighbour) {
                    found += 1;
                    self.scratch.batch.push(neighbour);
                }
            }
        }
    }

    /// Computes the distances of the batch and keeps the nearest.
    fn evaluate(&mut self) {
        let batch = std::mem::take(&mut self.scratch.batch);
        for nodes in batch.chunks(BASE_LINKS) {
            let scores = self.scores(nodes);
            for (node, score) in nodes.iter().zip(scores) {
                self.scratch.near.add(score, *node);
            }
        }
        self.scratch.batch = batch;
        self.scratch.batch.clear();
    }

    fn found(&self, end: End) -> Found {
        let near = &self.scratch.near.nodes;
        let members = near.iter().flat_map(|near| {
            let (score, node) = parts(*near);
            self.graph.arrays.members.get(node as usize).iter().map(move |slot| (*slot, score))
        });
        let allowed = |slot: u32| self.search.allowed.is_none_or(|allowed| allowed.contains(slot));
        let slots = members.filter(|(slot, _)| allowed(*slot)).collect();
        Found { slots, end, evaluations: self.evaluations }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
