//! The graph against the exact scan, its file against damage.

use std::num::NonZeroUsize;

use agentkit_core::{ErrorKind, RunContext};
use tempfile::tempdir;

use super::{Batched, Graph, GraphSearch, HnswRs};
use crate::index::filter::Bitmap;
use crate::index::kernel::dot;
use crate::index::storage::Disk;
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::Query;

const DIMENSION: usize = 16;

/// Unit vectors around a few centres, as text embeddings are clustered; a fixed linear congruential generator.
fn clustered(count: usize) -> Vectors {
    let mut vectors = Vectors::new(DIMENSION);
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 65_536.0 - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..20).map(|_| (0..DIMENSION).map(|_| random()).collect()).collect();
    for n in 0..count {
        let row: Vec<f32> = centres[n % 20].iter().map(|c| c + 0.4 * random()).collect();
        let norm = dot(&row, &row).sqrt();
        vectors.push(&row.iter().map(|c| c / norm).collect::<Vec<_>>());
    }
    vectors
}

fn exact(vectors: &Vectors, query: &[f32], k: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<u32> {
    let mut all: Vec<(f32, u32)> = (0..u32::try_from(vectors.len()).unwrap())
        .filter(|slot| allowed(*slot))
        .map(|slot| (dot(query, vectors.row(slot)), slot))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(k).map(|(_, slot)| slot).collect()
}

fn search(
    graph: &Graph,
    vectors: &Vectors,
    query: &[f32],
    breadth: usize,
    allowed: Option<&Bitmap>,
) -> Vec<u32> {
    let (query, ctx) = (Query::new(query), RunContext::new());
    let (limit, patience, detects_barren) = (breadth, usize::MAX, false);
    let search = GraphSearch {
        vectors,
        query: &query,
        breadth,
        limit,
        patience,
        detects_barren,
        allowed,
        hidden: None,
        ctx: &ctx,
    };
    let found = graph.search(search).unwrap();
    found.slots.into_iter().map(|(slot, _)| slot).collect()
}

fn recall(graph: &Graph, vectors: &Vectors, allowed: Option<&Bitmap>) -> f64 {
    let is_allowed = |slot: u32| allowed.is_none_or(|allowed| allowed.contains(slot));
    let mut found = 0;
    for query in 0..100 {
        let query = vectors.row(query * 7).to_vec();
        let near = search(graph, vectors, &query, 64, allowed);
        assert!(near.iter().all(|slot| is_allowed(*slot)));
        found += exact(vectors, &query, 10, &is_allowed).iter().filter(|slot| near.contains(slot)).count();
    }
    f64::from(u32::try_from(found).unwrap()) / 1000.0
}

#[test]
fn recall_is_high_with_and_without_a_filter_and_building_is_repeatable() {
    let vectors = clustered(2000);
    let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
    assert_eq!(graph, Graph::build(&vectors, &RunContext::new()).unwrap());
    assert!(recall(&graph, &vectors, None) > 0.97);
    let mut even = Bitmap::empty(2000);
    (0..2000).step_by(2).for_each(|slot| even.insert(slot));
    assert!(recall(&graph, &vectors, Some(&even)) > 0.97);
}

#[test]
fn equal_vectors_share_a_node_and_are_all_found() {
    let mut vectors = clustered(300);
    let copy = vectors.row(5).to_vec();
    vectors.skip_to(310);
    (0..50).for_each(|_| vectors.push(&copy));
    let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
    assert_eq!((graph.slots(), graph.members(), graph.arrays.heads.len()), (360, 350, 300));
    let found = search(&graph, &vectors, &copy, 10, None);
    assert_eq!(found.iter().filter(|slot| **slot == 5 || **slot >= 310).count(), 51);
    let mut late = Bitmap::empty(360);
    late.insert(359);
    assert_eq!(search(&graph, &vectors, &copy, 10, Some(&late)), [359]);
}

#[test]
fn an_empty_graph_finds_nothing_and_a_cancelled_build_stops() {
    let graph = Graph::build(&Vectors::new(DIMENSION), &RunContext::new()).unwrap();
    assert!(search(&graph, &Vectors::new(DIMENSION), &[1.0; DIMENSION], 10, None).is_empty());
    assert_eq!(super::file::parse(&super::file::encode(&graph)).unwrap(), graph);
    let vectors = clustered(100);
    let ctx = RunContext::new();
    ctx.cancel();
    assert!(Graph::build(&vectors, &ctx).unwrap_err().is_stopped());
}

#[test]
fn a_graph_does_not_fit_vectors_that_lack_one_of_its_own() {
    let vectors = clustered(300);
    let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
    assert!(graph.fits(&vectors));
    let mut without = Vectors::new(DIMENSION);
    for slot in (0..300).filter(|slot| *slot != 7) {
        without.skip_to(slot as usize);
        without.push(vectors.row(slot));
    }
    assert!(!graph.fits(&without));
    assert!(!search(&graph, &without, vectors.row(8), 10, None).is_empty());
}

#[test]
fn a_saved_graph_comes_back_and_a_damaged_one_is_refused() {
    let folder = tempdir().unwrap();
    let vectors = clustered(60);
    let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
    let path = folder.path().join("graph");
    graph.save(&Disk, &path).unwrap();
    assert_eq!(Graph::load(&Disk, &path).unwrap(), graph);
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        match Graph::load(&Disk, &path) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            Ok(loaded) => assert_eq!(loaded, graph, "only the case of a checksum's digits may go unnoticed"),
        }
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(Graph::load(&Disk, &path).is_err(), "cut at {at}");
    }
}

/// Both builders, and the usual one on several threads.
#[test]
fn builders_link_alike_and_the_number_of_threads_changes_nothing() {
    let vectors = clustered(3000);
    let ctx = RunContext::new();
    let threads = |count| Batched::on_threads(NonZeroUsize::new(count).unwrap());
    let built = Graph::build_with(&threads(1), &vectors, &ctx).unwrap();
    for count in [2, 3, 7] {
        assert_eq!(Graph::build_with(&threads(count), &vectors, &ctx).unwrap(), built, "{count} threads");
    }
    let by_hnsw_rs = Graph::build_with(&HnswRs, &vectors, &ctx).unwrap();
    for graph in [&built, &by_hnsw_rs] {
        assert_eq!(graph.arrays.heads.len(), 3000);
        assert!(recall(graph, &vectors, None) > 0.97);
        assert!(!graph.arrays.upper.is_empty(), "a graph of this size has layers");
    }
}

/// Nodes that come one after the other and are alike are in the same batch; they must still find each other.
#[test]
fn neighbours_of_the_same_batch_are_linked() {
    let spread = clustered(40_000);
    let mut vectors = Vectors::new(DIMENSION);
    for slot in 0..20_000 {
        let row = spread.row(slot * 2);
        vectors.push(row);
        let next: Vec<f32> =
            row.iter().enumerate().map(|(at, c)| if at == 0 { c + 0.001 } else { *c }).collect();
        let norm = dot(&next, &next).sqrt();
        vectors.push(&next.iter().map(|c| c / norm).collect::<Vec<_>>());
    }
    let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
    let found = (0..400)
        .filter(|at| search(&graph, &vectors, vectors.row(at * 100), 16, None).contains(&(at * 100 + 1)));
    let found = found.count();
    assert!(found >= 396, "{found} of 400 find the one that came with them");
}
