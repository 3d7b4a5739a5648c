//! What searching and building share: nodes with their codes, the nearest so far, and which were seen.

use super::{BASE_LINKS, MOST_NODES};
use crate::index::kernel::{self, Line, QueryCodes};
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::{Scale, scaled};

/// Low bit of a node whose neighbours have been looked at.
const EXPANDED: u64 = 1;

/// The nodes' vectors.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Points<'p> {
    pub(super) vectors: &'p Vectors,
    /// The first slot of each node.
    pub(super) heads: &'p [u32],
}

impl<'p> Points<'p> {
    pub(super) fn codes(self, node: u32) -> Option<(&'p [Line], Scale)> {
        self.vectors.codes(*self.heads.get(node as usize)?)
    }

    /// The scaled products of a query's codes with those of at most [`BASE_LINKS`] nodes.
    pub(super) fn products(self, query: &QueryCodes, nodes: &[u32]) -> [f32; BASE_LINKS] {
        let mut rows: [&[Line]; BASE_LINKS] = [&[]; BASE_LINKS];
        let mut scales = [0.0; BASE_LINKS];
        for ((row, scale), node) in rows.iter_mut().zip(&mut scales).zip(nodes) {
            if let Some((lines, codes)) = self.codes(*node) {
                kernel::prefetch(lines);
                (*row, *scale) = (lines, codes.scale);
            }
        }
        let mut products = [0; BASE_LINKS];
        kernel::dots(query, rows.get(..nodes.len()).unwrap_or_default(), &mut products);
        let mut all = [0.0; BASE_LINKS];
        for ((into, product), scale) in all.iter_mut().zip(products).zip(scales) {
            *into = scaled(product, scale);
        }
        all
    }

    /// The same as bits that order as they do.
    pub(super) fn scores(self, query: &QueryCodes, nodes: &[u32]) -> [u32; BASE_LINKS] {
        self.products(query, nodes).map(ordered)
    }
}

/// Memory that searches use one after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    seen: Vec<u64>,
    pub(super) near: Nearest,
    /// Nodes to be evaluated together.
    pub(super) batch: Vec<u32>,
    pub(super) bridges: Vec<u32>,
}

/// The nearest nodes so far, nearest first.
///
/// A node is a number that orders as its distance does, lower node numbers first among equals: the score's bits, the
/// inverted node number, and whether it has been expanded.
#[derive(Debug, Default)]
pub(super) struct Nearest {
    pub(super) nodes: Vec<u64>,
    breadth: usize,
    limit: usize,
    /// All before this have been expanded.
    next: usize,
    /// Nodes expanded since the best `limit` changed.
    pub(super) idle: usize,
}

impl Scratch {
    /// Makes ready for a search among so many nodes.
    pub(super) fn reset(&mut self, nodes: usize, breadth: usize, limit: usize) {
        self.seen.clear();
        self.seen.resize(nodes.div_ceil(64), 0);
        self.near.reset(breadth, limit);
        self.batch.clear();
    }

    pub(super) fn is_seen(&self, node: u32) -> bool {
        self.seen.get(node as usize / 64).is_some_and(|word| word & 1 << (node % 64) != 0)
    }

    /// Marks a node and says whether it was marked.
    pub(super) fn see(&mut self, node: u32) -> bool {
        let Some(word) = self.seen.get_mut(node as usize / 64) else { return true };
        let bit = 1 << (node % 64);
        let seen = *word & bit != 0;
        *word |= bit;
        seen
    }
}

impl Nearest {
    fn reset(&mut self, breadth: usize, limit: usize) {
        self.nodes.clear();
        (self.next, self.idle) = (0, 0);
        (self.breadth, self.limit) = (breadth.max(1), limit);
    }

    pub(super) fn add(&mut self, score: u32, node: u32) {
        let near = u64::from(score) << 32 | u64::from(MOST_NODES - node) << 1;
        if self.nodes.len() >= self.breadth {
            if self.nodes.last().is_some_and(|worst| near <= *worst) {
                return;
            }
            self.nodes.pop();
        }
        let at = self.nodes.partition_point(|nearer| *nearer > near);
        self.nodes.insert(at, near);
        self.next = self.next.min(at);
        if at < self.limit {
            self.idle = 0;
        }
    }

    /// The nearest node that was not expanded, which it now is.
    pub(super) fn expand(&mut self) -> Option<u32> {
        while let Some(near) = self.nodes.get_mut(self.next) {
            self.next += 1;
            if *near & EXPANDED == 0 {
                *near |= EXPANDED;
                self.idle += 1;
                return Some(parts(*near).1);
            }
        }
        None
    }
}

/// The scaled product and the node number.
pub(super) fn parts(near: u64) -> (f32, u32) {
    let [low, high] =
        [near, near >> 32].map(|half| u32::try_from(half & u64::from(u32::MAX)).unwrap_or_default());
    let bits = if high >> 31 == 0 { !high } else { high & (u32::MAX >> 1) };
    (f32::from_bits(bits), MOST_NODES - (low >> 1))
}

/// Bits that order as the numbers do: those of the single with the sign flipped, all of them if it is negative.
fn ordered(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}
