//! Combining what several queries found.

use std::collections::HashMap;

use super::WeightedQuery;
use crate::id::ChunkId;
use crate::retrieve::{Hit, QueryExplanation, SearchResponse};

/// The constant of reciprocal rank fusion, as in [`Fusion`](crate::Fusion).
const RRF_K: f32 = 60.0;

/// The responses as one: that of a single query unchanged, those of several by weighted reciprocal rank.
///
/// A hit keeps the explanation of the query that contributed most, beside what each query contributed; its score is
/// the sum of the contributions.
pub(super) fn fuse(
    queries: &[WeightedQuery],
    responses: Vec<SearchResponse>,
    top_k: usize,
) -> SearchResponse {
    let mut responses = responses;
    if responses.len() <= 1 {
        return responses.pop().unwrap_or_default();
    }
    let matches = responses.iter().map(|response| response.matches).max().unwrap_or_default();
    let generation = responses.iter().map(|response| response.generation).min().unwrap_or_default();
    let searched = responses.iter_mut().flat_map(|response| std::mem::take(&mut response.queries)).collect();
    let mut fused: HashMap<ChunkId, Fused> = HashMap::new();
    for (query, response) in queries.iter().zip(responses) {
        for (rank, hit) in (1..).zip(response.hits) {
            let id = hit.passage.chunk_id.clone();
            let found = found(query, rank, hit.score);
            fused.entry(id).or_default().add(hit, found);
        }
    }
    let mut hits: Vec<Hit> = fused.into_values().filter_map(Fused::into_hit).collect();
    hits.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then_with(|| a.passage.chunk_id.cmp(&b.passage.chunk_id))
    });
    hits.truncate(top_k);
    let mut response = SearchResponse::new(hits, matches, generation);
    response.queries = searched;
    response
}

#[expect(clippy::cast_precision_loss, reason = "ranks stay far below 2^24")]
fn found(query: &WeightedQuery, rank: usize, score: f32) -> QueryExplanation {
    let contribution = query.weight / (RRF_K + rank as f32);
    QueryExplanation { query: query.text.clone(), rank, score, contribution }
}

/// A hit of some of the queries.
#[derive(Default)]
struct Fused {
    best: Option<Hit>,
    most: f32,
    found: Vec<QueryExplanation>,
}

impl Fused {
    fn add(&mut self, hit: Hit, found: QueryExplanation) {
        if self.best.is_none() || found.contribution > self.most {
            self.most = found.contribution;
            self.best = Some(hit);
        }
        self.found.push(found);
    }

    fn into_hit(self) -> Option<Hit> {
        let mut hit = self.best?;
        hit.score = self.found.iter().map(|found| found.contribution).sum();
        hit.explanation.queries = self.found;
        Some(hit)
    }
}
