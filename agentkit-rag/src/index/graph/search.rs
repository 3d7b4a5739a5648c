//! Searching the frozen graph: greedy down the layers, then best-first with a bounded breadth.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Graph;
use crate::index::dense::dot;
use crate::index::filter::Bitmap;
use crate::index::vectors::Vectors;

/// A node and its cosine with the query; ordered by cosine, then by lower node number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Near {
    score: f32,
    node: u32,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(other.node.cmp(&self.node))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Graph {
    /// Slots near the unit vector `query` that are `allowed`, with their cosines, in no particular order.
    /// `breadth` (ef in the paper) trades time for recall and bounds the number of nodes returned.
    pub(in crate::index) fn search(
        &self,
        vectors: &Vectors,
        query: &[f32],
        breadth: usize,
        allowed: &dyn Fn(u32) -> bool,
    ) -> Vec<(u32, f32)> {
        if self.nodes() == 0 {
            return Vec::new();
        }
        let score = |node: u32| {
            let slot = self.members.get(node).first();
            slot.map_or(f32::NEG_INFINITY, |slot| dot(query, vectors.row(*slot)))
        };
        let start = self.descend(&score);
        let is_allowed = |node: u32| self.members.get(node).iter().any(|slot| allowed(*slot));
        let found = self.explore(start, breadth.max(1), &score, &is_allowed);
        let slots = found.into_iter().flat_map(|Reverse(near)| {
            self.members.get(near.node).iter().map(move |slot| (*slot, near.score))
        });
        slots.filter(|(slot, _)| allowed(*slot)).collect()
    }

    /// Walks greedily from the entry to the nearest node of layer 1.
    fn descend(&self, score: &dyn Fn(u32) -> f32) -> Near {
        let mut best = Near { score: score(self.entry), node: self.entry };
        for layer in self.layers.iter().skip(1).rev() {
            loop {
                let neighbours = layer.get(best.node).iter();
                let nearest = neighbours.map(|&node| Near { score: score(node), node }).max();
                match nearest {
                    Some(nearer) if nearer.score > best.score => best = nearer,
                    _ => break,
                }
            }
        }
        best
    }

    /// Best-first search on layer 0; every node is walked through, only allowed ones are kept.
    fn explore(
        &self,
        start: Near,
        breadth: usize,
        score: &dyn Fn(u32) -> f32,
        is_allowed: &dyn Fn(u32) -> bool,
    ) -> BinaryHeap<Reverse<Near>> {
        let Some(links) = self.layers.first() else { return BinaryHeap::new() };
        let mut seen = Bitmap::empty(u32::try_from(self.nodes()).unwrap_or(u32::MAX));
        let mut found = BinaryHeap::with_capacity(breadth + 1);
        let mut open = BinaryHeap::from([start]);
        seen.insert(start.node);
        if is_allowed(start.node) {
            found.push(Reverse(start));
        }
        while let Some(nearest) = open.pop() {
            let worst = found.peek().map_or(f32::NEG_INFINITY, |Reverse(near): &Reverse<Near>| near.score);
            if found.len() >= breadth && nearest.score < worst {
                break;
            }
            for &node in links.get(nearest.node) {
                if seen.contains(node) {
                    continue;
                }
                seen.insert(node);
                let near = Near { score: score(node), node };
                let full = found.len() >= breadth;
                if full && found.peek().is_some_and(|Reverse(worst)| near <= *worst) {
                    continue;
                }
                open.push(near);
                if is_allowed(node) {
                    found.push(Reverse(near));
                    if full {
                        found.pop();
                    }
                }
            }
        }
        found
    }
}
