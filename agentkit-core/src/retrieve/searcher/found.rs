//! Hits on their way through a plan: a ranking of chunk ids, and the hits they stand for.

use std::collections::BTreeMap;

use crate::id::ChunkId;
use crate::retrieve::explain::{Derivation, Explanation};
use crate::retrieve::plan::{Fusion, InputRange, SearchPlan};
use crate::retrieve::ranking::{Ranked, Ranking, scaled, sort};
use crate::retrieve::{Hit, Leg, SearchResponse};

/// What a part of a plan has found.
pub(super) struct Found {
    pub(super) ranking: Ranking<ChunkId>,
    pub(super) hits: BTreeMap<ChunkId, Hit>,
    pub(super) matches: u64,
    pub(super) generation: u64,
    /// What was searched for, each once, if it was told.
    pub(super) queries: Vec<String>,
}

impl Found {
    /// What a retriever answered that was asked for `want` hits of a part of the plan.
    pub(super) fn new(response: SearchResponse, part: &SearchPlan, want: usize) -> Self {
        let is_cut = response.hits.len() >= want;
        let mut hits = BTreeMap::new();
        let mut entries = Vec::with_capacity(response.hits.len());
        for (mut hit, rank) in response.hits.into_iter().zip(1..) {
            let Explanation { legs, derivation, .. } = std::mem::take(&mut hit.explanation);
            let given = || Derivation::Given { by: "retriever".into(), rank, score: hit.score };
            let derivation = derivation.unwrap_or_else(given);
            entries.push(Ranked { key: hit.passage.chunk_id.clone(), score: hit.score, legs, derivation });
            hits.insert(hit.passage.chunk_id.clone(), hit);
        }
        let range = InputRange { lowest: lowest(part), is_cut, trust: 1.0 };
        let (matches, generation, queries) = (response.matches, response.generation, response.queries);
        Self { ranking: Ranking { entries, range }, hits, matches, generation, queries }
    }

    /// The same as found by a retriever of this name, whose own computation means nothing to others.
    pub(super) fn given_by(mut self, name: &str) -> Self {
        for (entry, rank) in self.ranking.entries.iter_mut().zip(1..) {
            entry.derivation = Derivation::Given { by: name.to_owned(), rank, score: entry.score };
        }
        self
    }

    pub(super) fn fuse(method: Fusion, weights: &[f32], inputs: Vec<Self>) -> Self {
        let mut all = Self {
            ranking: Ranking {
                entries: Vec::new(),
                range: InputRange { lowest: 0.0, is_cut: false, trust: 1.0 },
            },
            hits: BTreeMap::new(),
            matches: 0,
            generation: 0,
            queries: Vec::new(),
        };
        let mut rankings = Vec::with_capacity(inputs.len());
        for input in inputs {
            rankings.push(input.ranking);
            all.hits.extend(input.hits);
            all.matches = all.matches.max(input.matches);
            all.generation = all.generation.max(input.generation);
            for query in input.queries {
                if !all.queries.contains(&query) {
                    all.queries.push(query);
                }
            }
        }
        all.ranking = Ranking::fuse(method, weights, rankings);
        all
    }

    pub(super) fn threshold(mut self, score: f32) -> Self {
        self.ranking = self.ranking.threshold(score);
        self
    }

    pub(super) fn limit(mut self, hits: usize) -> Self {
        self.ranking = self.ranking.limit(hits);
        self
    }

    /// The texts in the order of the ranking.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |entry: &Ranked<ChunkId>| self.hits.get(&entry.key).map(|hit| hit.passage.text.clone());
        self.ranking.entries.iter().map(|entry| text(entry).unwrap_or_default()).collect()
    }

    /// In the order of new scores.
    pub(super) fn reranked(mut self, reranker: &str, scores: Vec<f32>) -> Self {
        for (entry, score) in self.ranking.entries.iter_mut().zip(scores) {
            entry.derive(score, |from| Derivation::Reranked { reranker: reranker.to_owned(), score, from });
        }
        sort(&mut self.ranking.entries);
        self.ranking.range = InputRange { lowest: f32::INFINITY, is_cut: true, trust: 1.0 };
        self
    }

    /// The hits in their order, explained.
    pub(super) fn into_hits(self) -> impl Iterator<Item = Hit> {
        let mut hits = self.hits;
        self.ranking.entries.into_iter().filter_map(move |entry| {
            let mut hit = hits.remove(&entry.key)?;
            hit.score = entry.score;
            hit.explanation = Explanation::derived(entry.legs, entry.derivation);
            Some(hit)
        })
    }
}

impl<K> Ranked<K> {
    /// Gives it another score, which comes of the one it has.
    pub(super) fn derive(&mut self, score: f32, how: impl FnOnce(Box<Derivation>) -> Derivation) {
        let none = Derivation::Given { by: String::new(), rank: 1, score };
        let from = std::mem::replace(&mut self.derivation, none);
        self.derivation = how(Box::new(from));
        self.legs = scaled(std::mem::take(&mut self.legs), self.score, score);
        self.score = score;
    }
}

/// The lowest score that a plan's hits can have, as far as it is known.
fn lowest(plan: &SearchPlan) -> f32 {
    match plan {
        SearchPlan::Dense { .. } => super::super::ranking::lowest(Leg::Dense),
        SearchPlan::Lexical { .. } => super::super::ranking::lowest(Leg::Lexical),
        SearchPlan::Fuse { .. } => 0.0,
        other => other.input().map_or(f32::INFINITY, lowest),
    }
}
