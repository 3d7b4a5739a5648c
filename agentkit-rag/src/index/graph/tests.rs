//! The graph against the exact scan, its file against damage.

use agentkit_core::{ErrorKind, RunContext};
use tempfile::tempdir;

use super::Graph;
use crate::index::dense::dot;
use crate::index::storage::Disk;
use crate::index::vectors::Vectors;

const DIMENSION: usize = 16;

/// Unit vectors around a few centres, as text embeddings are clustered; a fixed linear congruential generator.
fn clustered(count: usize) -> (tempfile::TempDir, Vectors) {
    let folder = tempdir().unwrap();
    let mut vectors = Vectors::new(DIMENSION);
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 65_536.0 - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..20).map(|_| (0..DIMENSION).map(|_| random()).collect()).collect();
    let rows: Vec<Vec<f32>> = (0..count)
        .map(|n| {
            let row: Vec<f32> = centres[n % 20].iter().map(|c| c + 0.4 * random()).collect();
            let norm = dot(&row, &row).sqrt();
            row.iter().map(|c| c / norm).collect()
        })
        .collect();
    for row in rows {
        vectors.push(&row);
    }
    (folder, vectors)
}

fn exact(vectors: &Vectors, query: &[f32], k: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<u32> {
    let mut all: Vec<(f32, u32)> = (0..u32::try_from(vectors.len()).unwrap())
        .filter(|slot| allowed(*slot))
        .map(|slot| (dot(query, vectors.row(slot)), slot))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(k).map(|(_, slot)| slot).collect()
}

fn recall(graph: &Graph, vectors: &Vectors, allowed: &dyn Fn(u32) -> bool) -> f64 {
    let mut found = 0;
    for query in 0..100 {
        let query = vectors.row(query * 7).to_vec();
        let mut near = graph.search(vectors, &query, 64, allowed);
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert!(near.iter().all(|(slot, _)| allowed(*slot)));
        let near: Vec<u32> = near.into_iter().take(10).map(|(slot, _)| slot).collect();
        found += exact(vectors, &query, 10, allowed).iter().filter(|slot| near.contains(slot)).count();
    }
    f64::from(u32::try_from(found).unwrap()) / 1000.0
}

#[test]
fn recall_is_high_with_and_without_a_filter_and_building_is_repeatable() {
    let (_folder, vectors) = clustered(2000);
    let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
    assert_eq!(graph, Graph::build(&vectors, &RunContext::new()).unwrap());
    assert!(recall(&graph, &vectors, &|_| true) > 0.97);
    assert!(recall(&graph, &vectors, &|slot| slot % 2 == 0) > 0.97);
}

#[test]
fn equal_vectors_share_a_node_and_are_all_found() {
    let (_folder, mut vectors) = clustered(300);
    let copy = vectors.row(5).to_vec();
    for _ in 0..50 {
        vectors.push(&copy);
    }
    let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
    let same = graph.search(&vectors, &copy, 10, &|_| true).into_iter().filter(|(_, s)| *s > 0.9999).count();
    assert_eq!(same, 51);
}

#[test]
fn an_empty_graph_finds_nothing_and_a_cancelled_build_stops() {
    let graph = Graph::build(&Vectors::new(DIMENSION), &RunContext::new()).unwrap();
    assert!(graph.search(&Vectors::new(DIMENSION), &[1.0; DIMENSION], 10, &|_| true).is_empty());
    let (_folder, vectors) = clustered(100);
    let ctx = RunContext::new();
    ctx.cancel();
    assert!(Graph::build(&vectors, &ctx).unwrap_err().is_stopped());
}

#[test]
fn a_saved_graph_comes_back_and_a_damaged_one_is_refused() {
    let (folder, vectors) = clustered(60);
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
