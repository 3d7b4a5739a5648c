//! How many of the truly nearest chunks the index finds.

use std::collections::HashSet;

use agentkit_core::{Result, Retriever as _, RunContext, SearchPlan};
use agentkit_rag::Index;
use serde::{Deserialize, Serialize};

use super::super::output::{Progress, Unit};
use super::Bench;
use super::measure::{TOP_K, request};
use crate::synthetic::{Collection, Query};

/// Queries that are compared; each is compared with every chunk.
const SAMPLE: usize = 100;
/// Chunks between two looks at the context.
const BETWEEN_LOOKS: u64 = 1024;

/// Recall of the dense leg against all vectors of the collection.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Recall {
    /// Share of the ten nearest chunks that are found.
    pub(super) at_10: f64,
    /// Queries it is the mean of.
    pub(super) queries: usize,
}

pub(super) async fn recall(bench: &Bench, index: &Index) -> Result<Recall> {
    let progress = bench.session.out.progress("checking recall", Unit::Items);
    let (collection, queries) = (bench.collection.clone(), bench.queries.clone());
    let truth = bench.session.ctx.run_blocking(move |ctx| {
        let sample = queries.get(..SAMPLE.min(queries.len())).unwrap_or_default();
        nearest(&collection, sample, &progress, ctx)
    });
    let truth = truth.await?;
    let (mut found, mut wanted) = (0_u32, 0_u32);
    for (query, nearest) in bench.queries.iter().zip(&truth) {
        let request = request(bench.scope.clone(), query, &SearchPlan::dense());
        let response = index.search(&request, &bench.session.ctx).await?;
        let ids = response.hits.iter().filter_map(|hit| Collection::number(&hit.passage.document_id));
        let ids: HashSet<u64> = ids.collect();
        for (_, number) in nearest {
            wanted += 1;
            found += u32::from(ids.contains(number));
        }
    }
    Ok(Recall { at_10: f64::from(found) / f64::from(wanted.max(1)), queries: truth.len() })
}

/// The nearest chunks of each query, from all vectors of the collection, which are made once more.
fn nearest(
    collection: &Collection,
    queries: &[Query],
    progress: &Progress,
    ctx: &RunContext,
) -> Result<Vec<Vec<(f32, u64)>>> {
    let mut nearest = vec![Vec::with_capacity(TOP_K + 1); queries.len()];
    for number in 0..collection.chunks() {
        if number % BETWEEN_LOOKS == 0 {
            ctx.check()?;
            progress.set(number, Some(collection.chunks()));
        }
        let vector = collection.vector(&collection.text(number))?;
        for (query, best) in queries.iter().zip(&mut nearest) {
            keep(best, cosine(&query.vector, &vector), number);
        }
    }
    Ok(nearest)
}

/// Puts a chunk in its place among the best, best first.
fn keep(best: &mut Vec<(f32, u64)>, score: f32, number: u64) {
    if best.len() == TOP_K && best.last().is_some_and(|(last, _)| *last >= score) {
        return;
    }
    let place = best.partition_point(|(better, _)| *better >= score);
    best.insert(place, (score, number));
    best.truncate(TOP_K);
}

/// The inner product in lanes, so that the compiler may keep them in one register.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_ten_are_kept_in_order() {
        let mut best = Vec::new();
        for (score, number) in
            [3.0, 11.0, 1.0, 9.0, 5.0, 7.0, 2.0, 12.0, 4.0, 10.0, 6.0, 8.0].into_iter().zip(0..)
        {
            keep(&mut best, score, number);
        }
        let scores: Vec<f32> = best.iter().map(|(score, _)| *score).collect();
        assert_eq!(scores, [12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]);
        assert_eq!(best[0].1, 7);
    }
}
