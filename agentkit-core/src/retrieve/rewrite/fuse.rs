//! Combining what several queries found.

use std::collections::HashMap;

use super::WeightedQuery;
use crate::id::ChunkId;
use crate::retrieve::{Derivation, FusedPart, Fusion, Hit, QueryExplanation, SearchResponse};

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
    for (input, (query, response)) in queries.iter().zip(responses).enumerate() {
        for (rank, mut hit) in (1..).zip(response.hits) {
            let id = hit.passage.chunk_id.clone();
            let found = found(query, rank, hit.score);
            let from = hit.explanation.derivation.take();
            let given = || Derivation::Given { by: "retriever".into(), rank, score: hit.score };
            let from = from.unwrap_or_else(given);
            let part = FusedPart { input, rank, weight: query.weight, scale: None, from };
            fused.entry(id).or_default().add(hit, found, part);
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
    parts: Vec<FusedPart>,
}

impl Fused {
    fn add(&mut self, hit: Hit, found: QueryExplanation, part: FusedPart) {
        if self.best.is_none() || found.contribution > self.most {
            self.most = found.contribution;
            self.best = Some(hit);
        }
        self.found.push(found);
        self.parts.push(part);
    }

    fn into_hit(self) -> Option<Hit> {
        let mut hit = self.best?;
        hit.score = self.found.iter().map(|found| found.contribution).sum();
        hit.explanation.queries = self.found;
        let method = Fusion::Rrf { k: RRF_K };
        hit.explanation.derivation = Some(Derivation::Fused { method, parts: self.parts });
        Some(hit)
    }
}
