//! The dense leg: nearest vectors, by exact scan or through the graph.
//!
//! Which of the two is decided from the exact number of matches. A filtered walk through the graph costs more than
//! a scan of the matches as soon as fewer than about a third of the chunks match (measured, see
//! `docs/adr/0004-filtered-search.md`), so filtered and small searches are exact.

use agentkit_core::Result;
use tantivy::DocAddress;

use super::filter::Bitmap;
use super::graph::Graph;
use super::ranking::{Best, LegSearch, Scored, keep_best};
use super::vectors::Vectors;

/// Below this many matches a scan takes about a millisecond and the graph gains nothing.
const SCAN_BELOW: u64 = 10_000;
/// The graph is used if at least one in this many chunks matches.
const GRAPH_SHARE: u64 = 3;
/// Least breadth of a graph search; recall is measured in `benches/`.
const EF_SEARCH: usize = 128;
/// Rows scanned between two looks at the context.
const ROWS_BETWEEN_CHECKS: usize = 4096;

/// The best `limit` of the `allowed` chunks by cosine with the unit vector `query`.
pub(super) fn search(leg: LegSearch<'_>, query: &[f32]) -> Result<Vec<Scored>> {
    let snapshot = leg.snapshot;
    let matches: u64 = leg.allowed.iter().map(Bitmap::count).sum();
    let worthwhile = matches >= SCAN_BELOW && matches * GRAPH_SHARE >= snapshot.chunks();
    let scored = match &snapshot.graph {
        Some(graph) if worthwhile => {
            let mut found = through_graph(leg, graph, query);
            found.extend(scan(leg, query, graph.slots())?);
            found
        }
        _ => scan(leg, query, 0)?,
    };
    Ok(keep_best(scored, leg.limit))
}

/// Scores every allowed chunk whose slot is `from` or later.
fn scan(leg: LegSearch<'_>, query: &[f32], from: u32) -> Result<Vec<Scored>> {
    let LegSearch { snapshot, allowed, limit, ctx } = leg;
    let mut best = Best::new(limit, 0.0);
    for (ordinal, (view, allowed)) in (0..).zip(snapshot.segments.iter().zip(allowed)) {
        for (row, doc) in allowed.iter().enumerate() {
            if row % ROWS_BETWEEN_CHECKS == 0 {
                ctx.check()?;
            }
            let at = doc as usize;
            let (Some(&slot), Some(&key)) = (view.slots.get(at), view.keys.get(at)) else { continue };
            if slot >= from {
                best.add(dot(query, snapshot.vectors.row(slot)), (DocAddress::new(ordinal, doc), key));
            }
        }
    }
    Ok(scored(best))
}

fn through_graph(leg: LegSearch<'_>, graph: &Graph, query: &[f32]) -> Vec<Scored> {
    let LegSearch { snapshot, allowed, limit, .. } = leg;
    let place = |slot: u32| {
        let address = snapshot.place(slot)?;
        let segment = address.segment_ord as usize;
        allowed.get(segment)?.contains(address.doc_id).then_some(())?;
        let key = *snapshot.segments.get(segment)?.keys.get(address.doc_id as usize)?;
        Some((address, key))
    };
    let breadth = EF_SEARCH.max(limit);
    let found = graph.search(&snapshot.vectors, query, breadth, &|slot| place(slot).is_some());
    let placed = found
        .into_iter()
        .filter_map(|(slot, score)| place(slot).map(|(address, key)| Scored { address, key, score }));
    placed.collect()
}

fn scored(best: Best<(DocAddress, u64)>) -> Vec<Scored> {
    best.into_items().into_iter().map(|(score, (address, key))| Scored { address, key, score }).collect()
}

/// The inner product; the cosine, since stored vectors and queries have norm 1.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Scales `vector` to norm 1, or says why it cannot be.
pub(super) fn unit(mut vector: Vec<f32>, vectors: &Vectors) -> Result<Vec<f32>, String> {
    if vector.len() != vectors.dimension() {
        return Err(format!("it has {} components, the index has {}", vector.len(), vectors.dimension()));
    }
    let norm = dot(&vector, &vector).sqrt();
    if !(norm.is_finite() && norm > f32::MIN_POSITIVE) {
        return Err("it is zero or not finite, so it has no direction".into());
    }
    if (norm - 1.0).abs() > 1e-6 {
        for component in &mut vector {
            *component /= norm;
        }
    }
    Ok(vector)
}
