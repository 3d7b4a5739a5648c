//! The retriever that searches for what a rewriter makes of the question.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::fuse::fuse;
use super::{QueryRewriter, WeightedQuery};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::retrieve::{Conversation, Expansion, Hit, MAX_TOP_K, Retriever, SearchRequest, SearchResponse};

/// Most queries one question may become.
const MAX_QUERIES: usize = 16;
/// Hits of each of several queries that are fused, at least, unless told otherwise.
const CANDIDATES: usize = 100;

/// Searches for what a [`QueryRewriter`] makes of each question.
///
/// A single query is handed on as it is. Several are searched for at once, and their rankings are combined by
/// reciprocal rank fusion with the queries' weights. Wrappers can stand around each other: the inner one gets the outer
/// one's queries, without the conversation. If the rewriter fails, the question is searched for as it was asked:
/// rewriting is an aid, and nothing is lost without it. What was searched for stands in
/// [`SearchResponse::queries`].
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{MemoryRetriever, ScriptedModel};
/// use agentkit_core::{
///     Conversation, Message, Metadata, ModelRewriter, Retriever, RewritingRetriever, RunContext, SearchRequest,
///     TenantScope,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let scope = TenantScope::local();
/// let documents = MemoryRetriever::new();
/// documents.add_text(&scope, "tea", "Green tea is best at 80 degrees.", &Metadata::new())?;
///
/// let model = ScriptedModel::saying("How hot is green tea?");
/// let retriever = RewritingRetriever::new(Arc::new(documents), Arc::new(ModelRewriter::new(Arc::new(model))));
/// let before = Conversation::new(vec![Message::user("Do you know green tea?")]);
/// let request = SearchRequest::new(scope, "how hot is it?").conversation(before);
/// let found = retriever.search(&request, &RunContext::new()).await?;
/// assert_eq!(found.queries, ["How hot is green tea?", "how hot is it?"]);
/// # Ok::<_, agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct RewritingRetriever {
    retriever: Arc<dyn Retriever>,
    rewriter: Arc<dyn QueryRewriter>,
    candidates: usize,
}

impl RewritingRetriever {
    /// Searches in `retriever` for what `rewriter` makes of each question.
    #[must_use]
    pub fn new(retriever: Arc<dyn Retriever>, rewriter: Arc<dyn QueryRewriter>) -> Self {
        Self { retriever, rewriter, candidates: CANDIDATES }
    }

    /// Fuses at least this many hits of each of several queries; 100 unless set. Fewer cost less, and are enough for who reads
    /// only the best; pages beyond them are of another ranking.
    #[must_use]
    pub fn candidates(mut self, hits: usize) -> Self {
        self.candidates = hits;
        self
    }

    async fn queries(&self, request: &SearchRequest, ctx: &RunContext) -> Result<Vec<WeightedQuery>> {
        match self.rewriter.rewrite(request, ctx).await.and_then(checked) {
            Err(error) if !error.is_stopped() && ctx.check().is_ok() => {
                let (rewriter, error) = (self.rewriter.name(), error.chain());
                tracing::warn!(rewriter, error, "searching for the question as it was asked");
                Ok(vec![WeightedQuery::new(request.text.as_str())])
            }
            queries => queries,
        }
    }

    async fn one(&self, request: SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        let text = request.text.clone();
        let mut response = self.retriever.search(&request, ctx).await?;
        if response.queries.is_empty() {
            response.queries.push(text);
        }
        Ok(response)
    }
}

/// Refuses what cannot be searched for.
fn checked(queries: Vec<WeightedQuery>) -> Result<Vec<WeightedQuery>> {
    let is_sound = |query: &WeightedQuery| query.weight.is_finite() && query.weight > 0.0;
    if queries.is_empty() || queries.len() > MAX_QUERIES || !queries.iter().all(is_sound) {
        return Err(Error::internal(format!(
            "a rewriter must give 1 to {MAX_QUERIES} queries of positive weight, got {queries:?}"
        )));
    }
    Ok(queries)
}

#[async_trait]
impl Retriever for RewritingRetriever {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        let queries = self.queries(request, ctx).await?;
        let several = queries.len() > 1;
        let search = |query: &WeightedQuery| {
            let mut one = request.clone();
            one.text.clone_from(&query.text);
            one.conversation = Conversation::default();
            if let Some(plan) = &query.plan {
                one.plan = plan.clone();
            }
            if several {
                one.offset = 0;
                one.top_k = (request.offset + request.top_k).max(self.candidates).min(MAX_TOP_K);
            }
            self.one(one, ctx)
        };
        let responses = ctx.run(try_join_all(queries.iter().map(search))).await?;
        let most = request.offset + request.top_k;
        let mut response = fuse(&queries, responses, if several { most } else { request.top_k });
        if several {
            response.hits.drain(..request.offset.min(response.hits.len()));
        }
        Ok(response)
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

impl fmt::Debug for RewritingRetriever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RewritingRetriever").field("rewriter", &self.rewriter.name()).finish_non_exhaustive()
    }
}
