//! A retriever over a list of passages in this process, exact and explained.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;

use super::embedder::HashingEmbedder;
use super::reranker::overlap;
use super::words::words;
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ChunkId;
use crate::retrieve::{
    Explanation, Filter, Hit, Leg, Locator, Metadata, Passage, Ranked, Ranking, Retriever, SearchPlan,
    SearchRequest, SearchResponse, Span, search_by_parts,
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
        if !request.plan.is_plain() {
            return search_by_parts(self, request, ctx).await;
        }
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        request.check_generation(store.generation)?;
        let search = Search {
            request,
            words: words(&request.text).collect(),
            vector: self.embedder.vector(&request.text),
            chunks: store.chunks.iter().filter(|chunk| chunk.scope == request.scope).collect(),
        };
        let filter = request.filter.as_ref();
        let ranking = search.rank(&request.plan, &filter.into_iter().collect::<Vec<_>>())?;
        let page = ranking.entries.into_iter().skip(request.offset).take(request.top_k);
        let matches = search.allowed(&filter.into_iter().collect::<Vec<_>>()).count() as u64;
        Ok(SearchResponse::new(
            page.filter_map(|found| search.hit(found)).collect(),
            matches,
            store.generation,
        ))
    }
}

/// One query over the chunks of its scope.
struct Search<'s> {
    request: &'s SearchRequest,
    words: BTreeSet<String>,
    vector: Vec<f32>,
    chunks: Vec<&'s Stored>,
}

impl<'s> Search<'s> {
    /// Carries out a plain plan; all filters hold.
    fn rank(&self, plan: &SearchPlan, filters: &[&Filter]) -> Result<Ranking<&'s ChunkId>> {
        match plan {
            SearchPlan::Dense { candidates, .. } => Ok(self.leg(Leg::Dense, *candidates, filters)),
            SearchPlan::Lexical { candidates, .. } => Ok(self.leg(Leg::Lexical, *candidates, filters)),
            SearchPlan::Filter { filter, input } => self.rank(input, &[filters, &[filter]].concat()),
            SearchPlan::Fuse { method, weights, inputs } => {
                let inputs = inputs.iter().map(|input| self.rank(input, filters)).collect::<Result<_>>()?;
                Ok(Ranking::fuse(*method, weights, inputs))
            }
            SearchPlan::Threshold { score, input } => Ok(self.rank(input, filters)?.threshold(*score)),
            SearchPlan::Limit { hits, input } => Ok(self.rank(input, filters)?.limit(*hits)),
            _ => Err(Error::new(ErrorKind::Unsupported, "this retriever carries out plain plans only")),
        }
    }

    fn allowed<'a>(&'a self, filters: &'a [&Filter]) -> impl Iterator<Item = &'s Stored> + 'a {
        let chunks = self.chunks.iter().copied();
        chunks.filter(|chunk| filters.iter().all(|filter| filter.matches(&chunk.metadata)))
    }

    fn leg(&self, leg: Leg, candidates: usize, filters: &[&Filter]) -> Ranking<&'s ChunkId> {
        let score = |chunk: &Stored| match leg {
            Leg::Dense => self.vector.iter().zip(&chunk.vector).map(|(a, b)| a * b).sum(),
            Leg::Lexical => overlap(&self.words, &chunk.words),
        };
        let found = self.allowed(filters).map(|chunk| (&chunk.passage.chunk_id, score(chunk)));
        let mut found: Vec<(&ChunkId, f32)> =
            found.filter(|(_, score)| leg == Leg::Dense || *score > 0.0).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let depth = candidates.max(self.request.top_k);
        found.truncate(depth);
        Ranking::of_leg(leg, found, depth)
    }

    fn hit(&self, found: Ranked<&ChunkId>) -> Option<Hit> {
        let chunk = self.chunks.iter().find(|chunk| chunk.passage.chunk_id == *found.key)?;
        Some(Hit {
            passage: chunk.passage.clone(),
            score: found.score,
            metadata: chunk.metadata.clone(),
            explanation: Explanation::derived(found.legs, found.derivation),
        })
    }
}
