//! The retriever that takes a second, closer look at the best of what another one finds.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Derivation, Expansion, Hit, MAX_TOP_K, Retriever, SearchRequest, SearchResponse};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::rerank::Reranker;

/// Hits looked at again unless told otherwise.
const CANDIDATES: usize = 20;

/// Orders the best hits of a retriever by a [`Reranker`].
///
/// The reranker sees a passage with its document's title in front. A hit's score is then the reranker's, and stands in
/// [`Explanation::reranked`](crate::Explanation) too. If the reranker fails, so does the search; put a wrapper of
/// [`resilience`](crate::resilience) around a reranker that may.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{MemoryRetriever, OverlapReranker};
/// use agentkit_core::{Metadata, RerankingRetriever, Retriever, RunContext, SearchRequest, TenantScope};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let scope = TenantScope::local();
/// let documents = MemoryRetriever::new();
/// documents.add_text(&scope, "tea", "Green tea is best at 80 degrees.", &Metadata::new())?;
/// let retriever = RerankingRetriever::new(Arc::new(documents), Arc::new(OverlapReranker::new()));
/// let found = retriever.search(&SearchRequest::new(scope, "green tea"), &RunContext::new()).await?;
/// assert_eq!(found.hits[0].explanation.reranked, Some(1.0));
/// # Ok::<_, agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct RerankingRetriever {
    retriever: Arc<dyn Retriever>,
    reranker: Arc<dyn Reranker>,
    candidates: usize,
}

impl RerankingRetriever {
    /// Looks at the twenty best hits of `retriever` again.
    #[must_use]
    pub fn new(retriever: Arc<dyn Retriever>, reranker: Arc<dyn Reranker>) -> Self {
        Self { retriever, reranker, candidates: CANDIDATES }
    }

    /// How many hits to look at again, 1 to [`MAX_TOP_K`]; fewer than are asked for are enough: the rest follows in the
    /// order in which it was found, with scores below those.
    #[must_use]
    pub fn candidates(mut self, hits: usize) -> Self {
        self.candidates = hits.clamp(1, MAX_TOP_K);
        self
    }

    async fn rerank(&self, query: &str, found: &mut SearchResponse, ctx: &RunContext) -> Result<()> {
        let looked_at = self.candidates.min(found.hits.len());
        let Some((hits, rest)) = found.hits.split_at_mut_checked(looked_at) else { return Ok(()) };
        let text = |hit: &super::Hit| match &hit.passage.title {
            Some(title) if !hit.passage.text.starts_with(title.as_str()) => {
                format!("{title}\n{}", hit.passage.text)
            }
            _ => hit.passage.text.clone(),
        };
        let scores = ctx.run(self.reranker.rerank(query, hits.iter().map(text).collect(), ctx)).await?;
        if scores.len() != hits.len() {
            let (name, got, asked) = (self.reranker.name(), scores.len(), hits.len());
            return Err(Error::internal(format!("reranker {name} gave {got} scores for {asked} passages")));
        }
        for (hit, score) in hits.iter_mut().zip(scores) {
            rescore(hit, self.reranker.name(), score);
        }
        hits.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| a.passage.chunk_id.cmp(&b.passage.chunk_id))
        });
        let mut lowest = hits.last().map_or(0.0, |hit| hit.score);
        for hit in rest {
            lowest = lowest.next_down();
            rescore(hit, self.reranker.name(), lowest);
        }
        Ok(())
    }
}

/// Gives a hit the reranker's score.
fn rescore(hit: &mut Hit, reranker: &str, score: f32) {
    let before = Derivation::Given { by: "retriever".into(), rank: 1, score: hit.score };
    let from = Box::new(hit.explanation.derivation.take().unwrap_or(before));
    hit.explanation.derivation = Some(Derivation::Reranked { reranker: reranker.to_owned(), score, from });
    hit.explanation.reranked = Some(score);
    hit.score = score;
}

#[async_trait]
impl Retriever for RerankingRetriever {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        let mut wider = request.clone();
        wider.offset = 0;
        wider.top_k = (request.offset + request.top_k).max(self.candidates).min(MAX_TOP_K);
        let mut found = self.retriever.search(&wider, ctx).await?;
        let query = found.queries.iter().max_by_key(|query| query.len()).unwrap_or(&request.text).clone();
        self.rerank(&query, &mut found, ctx).await?;
        found.hits.drain(..request.offset.min(found.hits.len()));
        found.hits.truncate(request.top_k);
        Ok(found)
    }

    async fn expand(
        &self,
        request: &SearchRequest,
        hits: Vec<Hit>,
        to: Expansion,
        ctx: &RunContext,
    ) -> Result<Vec<Hit>> {
        self.retriever.expand(request, hits, to, ctx).await
    }
}

impl fmt::Debug for RerankingRetriever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RerankingRetriever")
            .field("reranker", &self.reranker.name())
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}
