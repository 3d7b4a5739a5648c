//! The usual builder: nodes are inserted in batches, each node of a batch searched for at the same time as the others.
//!
//! Why: building is the slowest thing an index does, and inserting one node after the other cannot use a second core
//! without the links depending on which thread was faster.
//!
//! How: the nodes of a batch look for neighbours in the graph as it was before the batch, and among the nodes of the
//! batch before them, whose distances are all computed (as `ParlayANN` does: Dobson et al., "Scaling Graph-Based ANNS
//! Algorithms to Billion-Size Datasets", 2023). Then every node that was chosen as a neighbour takes its new
//! links. Both steps only read, each gives its results in the order of the nodes, and the results are written in that
//! order. A batch is a small part of the graph so far, so hardly any node misses a neighbour.
//!
//! Always true: the links depend on the points and their order, not on the number of threads.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use agentkit_core::{Result, RunContext};

use super::{Builder, EF_CONSTRUCTION, Linked};
use crate::index::graph::near::{Points, Scratch, parts};
use crate::index::graph::{BASE_LINKS, Links, Lists, MAX_LINKS};
use crate::index::kernel::{self, QueryCodes};

/// The graph has so many times the nodes of a batch.
const BATCH_PART: usize = 64;
const LARGEST_BATCH: usize = 512;
/// Threads beyond this would only wait for the memory.
const MOST_THREADS: usize = 4;
/// Bits of a node's hash that must be zero for another layer: one node in [`MAX_LINKS`] is on it.
const BITS_OF_LAYER: u32 = MAX_LINKS.ilog2();

/// Builds in batches.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Batched {
    threads: NonZeroUsize,
}

impl Default for Batched {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::on_threads(NonZeroUsize::new(cores.min(MOST_THREADS)).unwrap_or(NonZeroUsize::MIN))
    }
}

impl Batched {
    pub(in crate::index) fn on_threads(threads: NonZeroUsize) -> Self {
        Self { threads }
    }
}

impl Builder for Batched {
    fn link(&self, points: Points<'_>, ctx: &RunContext) -> Result<Linked> {
        let nodes = points.heads.len();
        let mut growing = Growing::new(points);
        let mut workers: Vec<Worker> = (0..self.threads.get()).map(|_| Worker::default()).collect();
        while growing.base.len() < nodes {
            ctx.check()?;
            let size = (growing.base.len() / BATCH_PART).clamp(1, LARGEST_BATCH);
            growing.insert(size.min(nodes - growing.base.len()), &mut workers);
        }
        Ok(growing.finish())
    }
}

/// A graph that takes more nodes.
struct Growing<'p> {
    points: Points<'p>,
    base: Vec<Links>,
    /// The links on each layer above, by node.
    upper: Vec<HashMap<u32, Vec<u32>>>,
    /// A node of the topmost layer, where searches start.
    entry: u32,
}

/// A node to be inserted and the neighbours found for it, by layer.
struct Found {
    node: u32,
    layers: Vec<Vec<u32>>,
}

/// What a thread works with.
#[derive(Debug, Default)]
struct Worker {
    scratch: Scratch,
    candidates: Vec<Candidate>,
}

/// A node as what others are compared with.
struct Point {
    query: QueryCodes,
    scale: f32,
}

/// A node that may become a neighbour, and its similarity.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    node: u32,
    score: f32,
}

impl<'p> Growing<'p> {
    fn new(points: Points<'p>) -> Self {
        Self { points, base: Vec::with_capacity(points.heads.len()), upper: Vec::new(), entry: 0 }
    }

    /// Inserts the next `count` nodes.
    fn insert(&mut self, count: usize, workers: &mut [Worker]) {
        let first = number(self.base.len());
        let batch: Vec<u32> = (first..).take(count).collect();
        let found = in_parallel(&batch, workers, |worker, node| self.search(first, *node, worker));
        let mut chosen = Vec::new();
        for Found { node, layers } in found {
            for (layer, neighbours) in layers.iter().enumerate() {
                chosen.extend(neighbours.iter().map(|neighbour| (layer, *neighbour, node)));
            }
            self.append(node, layers);
        }
        // Sorted by layer, then by the node that was chosen, then by the one that chose it.
        chosen.sort_unstable();
        let chosen: Vec<&[(usize, u32, u32)]> = chosen.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).collect();
        let relinked = in_parallel(&chosen, workers, |worker, chosen| self.relink(chosen, worker));
        for (chosen, links) in chosen.iter().zip(relinked) {
            if let Some((layer, node, _)) = chosen.first() {
                self.set(*layer, *node, links);
            }
        }
    }

    /// Finds the neighbours of a node among those inserted and those of the batch before it.
    fn search(&self, first: u32, node: u32, worker: &mut Worker) -> Found {
        let point = self.points.point(node);
        let mut layers = vec![Vec::new(); layer_of(node) + 1];
        let mut start = self.entry;
        for layer in (0..layers.len().max(self.upper.len() + 1)).rev() {
            worker.candidates.clear();
            if first > 0 && layer <= self.upper.len() {
                let breadth = if layer < layers.len() { EF_CONSTRUCTION } else { 1 };
                self.nearest(layer, &point, (start, breadth), worker);
                start = worker.candidates.first().map_or(start, |nearest| nearest.node);
            }
            if let Some(neighbours) = layers.get_mut(layer) {
                let before: Vec<u32> = (first..node).filter(|other| layer_of(*other) >= layer).collect();
                self.compare(&point, &before, &mut worker.candidates);
                *neighbours = self.choose(&mut worker.candidates, most_links(layer));
            }
        }
        Found { node, layers }
    }

    /// The nodes of a layer nearest to a point, found best-first from `start` on with a breadth.
    fn nearest(&self, layer: usize, point: &Point, (start, breadth): (u32, usize), worker: &mut Worker) {
        let scratch = &mut worker.scratch;
        scratch.reset(self.base.len(), breadth, breadth);
        scratch.see(start);
        scratch.batch.push(start);
        while !scratch.batch.is_empty() {
            let batch = std::mem::take(&mut scratch.batch);
            for nodes in batch.chunks(BASE_LINKS) {
                let scores = self.points.scores(&point.query, nodes);
                nodes.iter().zip(scores).for_each(|(node, score)| scratch.near.add(score, *node));
            }
            scratch.batch = batch;
            scratch.batch.clear();
            while scratch.batch.is_empty()
                && let Some(node) = scratch.near.expand()
            {
                for neighbour in self.links(layer, node) {
                    if !scratch.see(*neighbour) {
                        scratch.batch.push(*neighbour);
                    }
                }
            }
        }
        let found = scratch.near.nodes.iter().map(|near| parts(*near));
        worker.candidates.extend(found.map(|(score, node)| Candidate { node, score: score * point.scale }));
    }

    /// Adds nodes to the candidates for a point.
    fn compare(&self, point: &Point, nodes: &[u32], candidates: &mut Vec<Candidate>) {
        for nodes in nodes.chunks(BASE_LINKS) {
            let scored = nodes.iter().zip(self.points.products(&point.query, nodes));
            let scored = scored.map(|(node, score)| Candidate { node: *node, score: score * point.scale });
            candidates.extend(scored);
        }
    }

    /// At most `most` of the candidates, nearest first, none of which is nearer to one before it than to the node
    /// (algorithm 4 of Malkov and Yashunin).
    fn choose(&self, candidates: &mut [Candidate], most: usize) -> Vec<u32> {
        candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)));
        let mut chosen: Vec<u32> = Vec::with_capacity(most);
        for candidate in candidates {
            if chosen.len() >= most {
                break;
            }
            let mut nearer = chosen.iter().map(|other| self.points.similarity(candidate.node, *other));
            if nearer.all(|similarity| similarity <= candidate.score) {
                chosen.push(candidate.node);
            }
        }
        chosen
    }

    /// The links of a node once those that chose it are linked back: all of them, or the best if they are too many.
    fn relink(&self, chosen: &[(usize, u32, u32)], worker: &mut Worker) -> Vec<u32> {
        let Some((layer, node, _)) = chosen.first().copied() else { return Vec::new() };
        let links = self.links(layer, node).iter().copied();
        let all: Vec<u32> = links.chain(chosen.iter().map(|(_, _, by)| *by)).collect();
        let most = most_links(layer);
        if all.len() <= most {
            return all;
        }
        worker.candidates.clear();
        self.compare(&self.points.point(node), &all, &mut worker.candidates);
        self.choose(&mut worker.candidates, most)
    }

    fn links(&self, layer: usize, node: u32) -> &[u32] {
        match layer.checked_sub(1) {
            None => self.base.get(node as usize).map_or(&[], |links| links.of(node)),
            Some(upper) => {
                self.upper.get(upper).and_then(|links| links.get(&node)).map_or(&[], Vec::as_slice)
            }
        }
    }

    fn set(&mut self, layer: usize, node: u32, neighbours: Vec<u32>) {
        match layer.checked_sub(1) {
            None => {
                if let (Some(place), Some(links)) =
                    (self.base.get_mut(node as usize), Links::new(node as usize, &neighbours))
                {
                    *place = links;
                }
            }
            Some(upper) => {
                self.upper.get_mut(upper).map(|links| links.insert(node, neighbours));
            }
        }
    }

    /// Adds a node with its links; one that is on more layers than any before is where searches start.
    fn append(&mut self, node: u32, layers: Vec<Vec<u32>>) {
        if layers.len() > self.upper.len() + 1 {
            self.upper.resize_with(layers.len() - 1, HashMap::new);
            self.entry = node;
        }
        self.base.push(Links::EMPTY);
        for (layer, neighbours) in layers.into_iter().enumerate() {
            self.set(layer, node, neighbours);
        }
    }

    fn finish(self) -> Linked {
        let upper = self.upper.into_iter().map(|mut links| {
            let mut nodes: Vec<u32> = links.keys().copied().collect();
            nodes.sort_unstable();
            let mut lists = Lists::default();
            for node in &nodes {
                lists.push(&links.remove(node).unwrap_or_default());
            }
            (nodes, lists)
        });
        Linked { upper: upper.collect(), base: self.base }
    }
}

impl Points<'_> {
    fn point(self, node: u32) -> Point {
        let (lines, scale) = self.codes(node).map_or((&[][..], 0.0), |(lines, codes)| (lines, codes.scale));
        Point { query: QueryCodes::of_row(lines), scale }
    }

    /// The cosine as the codes have it.
    #[expect(clippy::cast_precision_loss, reason = "codes are an approximation already")]
    fn similarity(self, a: u32, b: u32) -> f32 {
        let (Some((a, a_codes)), Some((b, b_codes))) = (self.codes(a), self.codes(b)) else { return 0.0 };
        kernel::pair(a, b) as f32 * b_codes.scale * a_codes.scale
    }
}

fn most_links(layer: usize) -> usize {
    if layer == 0 { BASE_LINKS } else { MAX_LINKS }
}

/// The highest layer of a node, by its number alone.
fn layer_of(node: u32) -> usize {
    // The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    let mut hash = (u64::from(node) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ hash >> 31).trailing_zeros() / BITS_OF_LAYER) as usize
}

/// What `work` gives for each item, in their order, on a thread for each worker.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    workers: &mut [Worker],
    work: impl Fn(&mut Worker, &T) -> R + Sync,
) -> Vec<R> {
    let part = items.len().div_ceil(workers.len().max(1)).max(1);
    let work = &work;
    let run = move |(items, worker): (&[T], &mut Worker)| -> Vec<R> {
        items.iter().map(|item| work(worker, item)).collect()
    };
    let mut parts = items.chunks(part).zip(workers);
    let Some(own) = parts.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || run(part))).collect();
        let mut all = run(own);
        for other in others {
            match other.join() {
                Ok(results) => all.extend(results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
