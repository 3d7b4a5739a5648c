//! A retriever over a list of passages in this process, exact and explained.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;

use super::embedder::HashingEmbedder;
use super::reranker::overlap;
use super::words::words;
use crate::context::RunContext;
use crate::error::Result;
use crate::id::ChunkId;
use crate::retrieve::{
    Explanation, Fusion, Hit, Leg, LegExplanation, Locator, Metadata, Passage, Retriever, SearchPlan,
    SearchRequest, SearchResponse, Span,
};
use crate::scope::TenantScope;

/// Finds passages by comparing the query with every one of them.
///
/// The lexical leg scores by the share of the query's words a passage has, the dense leg by the cosine of
/// [`HashingEmbedder`] vectors; both see the title and the text.
///
/// # Examples
/// ```
/// use agentkit_core::testing::MemoryRetriever;
/// use agentkit_core::{Metadata, Retriever, RunContext, SearchRequest, TenantScope};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let retriever = MemoryRetriever::new();
/// retriever.add_text(&TenantScope::local(), "tea", "Green tea wants 80 degrees.", &Metadata::new()).unwrap();
/// retriever.add_text(&TenantScope::local(), "oil", "Change the oil once a year.", &Metadata::new()).unwrap();
/// let request = SearchRequest::new(TenantScope::local(), "how hot for green tea?");
/// let found = retriever.search(&request, &RunContext::new()).await.unwrap();
/// assert_eq!(found.hits[0].passage.document_id.as_str(), "tea");
/// # });
/// ```
#[derive(Debug, Default)]
pub struct MemoryRetriever {
    embedder: HashingEmbedder,
    store: RwLock<Store>,
}

#[derive(Debug, Default)]
struct Store {
    chunks: Vec<Stored>,
    generation: u64,
}

#[derive(Debug)]
struct Stored {
    scope: TenantScope,
    passage: Passage,
    metadata: Metadata,
    words: BTreeSet<String>,
    vector: Vec<f32>,
}

impl MemoryRetriever {
    /// A retriever that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds passages of one document; a passage replaces one of the same scope and chunk id.
    ///
    /// # Errors
    /// Invalid input, if the metadata is malformed.
    pub fn add(
        &self,
        scope: &TenantScope,
        passages: impl IntoIterator<Item = Passage>,
        metadata: &Metadata,
    ) -> Result<()> {
        metadata.validate()?;
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        for passage in passages {
            store.chunks.retain(|old| old.scope != *scope || old.passage.chunk_id != passage.chunk_id);
            store.chunks.push(self.prepare(scope, passage, metadata));
        }
        store.generation += 1;
        Ok(())
    }

    /// Adds a document that is one passage, without a title; its chunk id is `{id}#0`.
    ///
    /// # Errors
    /// Invalid input, if the id or the metadata is malformed.
    pub fn add_text(&self, scope: &TenantScope, id: &str, text: &str, metadata: &Metadata) -> Result<()> {
        let passage = Passage {
            chunk_id: ChunkId::new(format!("{id}#0"))?,
            document_id: id.try_into()?,
            title: None,
            text: text.into(),
            span: Span::new(0, text.len()),
            locator: Locator::default(),
        };
        self.add(scope, [passage], metadata)
    }

    fn prepare(&self, scope: &TenantScope, passage: Passage, metadata: &Metadata) -> Stored {
        let text = format!("{}\n{}", passage.title.as_deref().unwrap_or_default(), passage.text);
        Stored {
            scope: scope.clone(),
            words: words(&text).collect(),
            vector: self.embedder.vector(&text),
            metadata: metadata.clone(),
            passage,
        }
    }
}

#[async_trait]
impl Retriever for MemoryRetriever {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        ctx.check()?;
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let filter = request.filter.as_ref();
        let allowed = |chunk: &&Stored| {
            chunk.scope == request.scope && filter.is_none_or(|filter| filter.matches(&chunk.metadata))
        };
        let search = Search {
            words: words(&request.text).collect(),
            vector: self.embedder.vector(&request.text),
            chunks: store.chunks.iter().filter(allowed).collect(),
        };
        let mut ranked = search.rank(&request.plan);
        ranked.truncate(request.top_k);
        let fusion = match &request.plan {
            SearchPlan::Fuse { method, .. } => Some(*method),
            _ => None,
        };
        let hits = ranked.into_iter().map(|found| found.into_hit(fusion)).collect();
        Ok(SearchResponse::new(hits, search.chunks.len() as u64, store.generation))
    }
}

/// One query over the chunks it may see.
struct Search<'s> {
    words: BTreeSet<String>,
    vector: Vec<f32>,
    chunks: Vec<&'s Stored>,
}

/// A chunk with its score so far.
struct Found<'s> {
    chunk: &'s Stored,
    score: f32,
    legs: Vec<LegExplanation>,
}

impl<'s> Search<'s> {
    fn rank(&self, plan: &SearchPlan) -> Vec<Found<'s>> {
        match plan {
            SearchPlan::Dense { candidates, .. } => self.leg(Leg::Dense, *candidates),
            SearchPlan::Lexical { candidates } => self.leg(Leg::Lexical, *candidates),
            SearchPlan::Fuse { method: Fusion::Rrf { k }, inputs } => {
                fuse(*k, inputs.iter().map(|input| self.rank(input)))
            }
        }
    }

    fn leg(&self, leg: Leg, candidates: usize) -> Vec<Found<'s>> {
        let score = |chunk: &Stored| match leg {
            Leg::Dense => self.vector.iter().zip(&chunk.vector).map(|(a, b)| a * b).sum(),
            Leg::Lexical => overlap(&self.words, &chunk.words),
        };
        let found = self.chunks.iter().map(|chunk| Found { chunk, score: score(chunk), legs: Vec::new() });
        let mut found: Vec<_> = found.filter(|found| leg == Leg::Dense || found.score > 0.0).collect();
        sort(&mut found);
        found.truncate(candidates);
        for (at, found) in found.iter_mut().enumerate() {
            let (rank, score) = (at + 1, found.score);
            found.legs.push(LegExplanation { leg, rank, score, contribution: score });
        }
        found
    }
}

impl Found<'_> {
    fn into_hit(self, fusion: Option<Fusion>) -> Hit {
        Hit {
            passage: self.chunk.passage.clone(),
            score: self.score,
            metadata: self.chunk.metadata.clone(),
            explanation: Explanation::new(self.legs, fusion),
        }
    }
}

/// Reciprocal rank fusion; a fusion within a fusion shares its part among its own legs as it weighed them.
fn fuse<'s>(k: f32, inputs: impl Iterator<Item = Vec<Found<'s>>>) -> Vec<Found<'s>> {
    let mut fused: BTreeMap<&ChunkId, Found<'s>> = BTreeMap::new();
    for input in inputs {
        for (at, found) in input.into_iter().enumerate() {
            let part = 1.0 / (k + rank_as_f32(at + 1));
            let whole: f32 = found.legs.iter().map(|leg| leg.contribution).sum();
            let single = found.legs.len() == 1;
            let share = |leg: LegExplanation| LegExplanation {
                contribution: if single { part } else { part * leg.contribution / whole },
                ..leg
            };
            let entry = fused.entry(&found.chunk.passage.chunk_id).or_insert_with(|| Found {
                chunk: found.chunk,
                score: 0.0,
                legs: Vec::new(),
            });
            entry.score += part;
            entry.legs.extend(found.legs.into_iter().map(share));
        }
    }
    let mut fused: Vec<_> = fused.into_values().collect();
    sort(&mut fused);
    fused
}

#[expect(clippy::cast_precision_loss, reason = "ranks are at most 10,000")]
fn rank_as_f32(rank: usize) -> f32 {
    rank as f32
}

fn sort(found: &mut [Found<'_>]) {
    found.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then_with(|| a.chunk.passage.chunk_id.cmp(&b.chunk.passage.chunk_id))
    });
}
