//! The builder around `hnsw_rs`: nodes go in one after the other as int8 codes, and the links are copied out.

use agentkit_core::{Error, Result, RunContext};
use hnsw_rs::anndists::dist::distances::Distance;
use hnsw_rs::hnsw::{Hnsw, Neighbour};

use super::{Builder, EF_CONSTRUCTION, Linked};
use crate::index::graph::near::Points;
use crate::index::graph::{BASE_LINKS, Links, Lists, MAX_LINKS};
use crate::index::kernel::{self, Line};

const MAX_LAYERS: usize = 16;

/// Builds on one thread, in the order of the nodes, so that the result is the same every time.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct HnswRs;

impl Builder for HnswRs {
    fn link(&self, points: Points<'_>, ctx: &RunContext) -> Result<Linked> {
        let nodes = points.heads.len();
        let hnsw = Hnsw::<Line, CodeCosine>::new(MAX_LINKS, nodes, MAX_LAYERS, EF_CONSTRUCTION, CodeCosine);
        let mut codes = Vec::new();
        for (number, node) in (0..nodes).zip(0..) {
            ctx.check()?;
            point(points, node, &mut codes);
            hnsw.insert_slice((&codes, number));
        }
        linked(&hnsw, nodes).ok_or_else(|| Error::internal("hnsw_rs left links that are none"))
    }
}

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

/// The codes of a node with their scale, as [`CodeCosine`] reads them.
fn point(points: Points<'_>, node: u32, into: &mut Vec<Line>) {
    into.clear();
    let mut last = Line::ZERO;
    if let (Some((lines, codes)), Some(bytes)) = (points.codes(node), last.0.first_chunk_mut()) {
        *bytes = codes.scale.to_le_bytes();
        into.extend_from_slice(lines);
    }
    into.push(last);
}

/// Copies the links out of `hnsw_rs`; nothing if they are not those of a graph.
fn linked(hnsw: &Hnsw<'_, Line, CodeCosine>, nodes: usize) -> Option<Linked> {
    // Where hnsw_rs passes through layers above a node's own, it leaves a link there; those are no links of the node.
    let mut links: Vec<Vec<Vec<u32>>> = vec![Vec::new(); nodes];
    for point in hnsw.get_point_indexation() {
        let layers = usize::from(point.get_point_id().0) + 1;
        let neighbours = point.get_neighborhood_id();
        *links.get_mut(point.get_origin_id())? =
            neighbours.iter().take(layers).map(|layer| numbers(layer)).collect();
    }
    let top = links.iter().map(Vec::len).max().unwrap_or(0);
    let mut base = Vec::with_capacity(nodes);
    for (node, links) in links.iter().enumerate() {
        let mut neighbours = links.first()?.clone();
        neighbours.retain(|neighbour| *neighbour as usize != node);
        neighbours.truncate(BASE_LINKS);
        base.push(Links::new(node, &neighbours)?);
    }
    Some(Linked { base, upper: (1..top).map(|layer| on_layer(&links, layer)).collect() })
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
