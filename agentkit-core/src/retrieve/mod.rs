//! The retriever contract: a typed question in, explained passages out.

mod conversation;
mod explain;
mod filter;
mod locator;
mod metadata;
mod plan;
mod ranking;
mod reranking;
mod rewrite;
mod searcher;
mod tool;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::conversation::Conversation;
pub use self::explain::{Derivation, Explanation, FusedPart, Leg, LegExplanation, QueryExplanation};
pub use self::filter::{Filter, Range};
pub use self::locator::{Locator, Mark, Span};
pub use self::metadata::{Metadata, MetadataValue, Scalar};
pub use self::plan::{Boosts, Expansion, Fusion, InputRange, Matching, Scale, SearchPlan};
pub use self::ranking::{Ranked, Ranking};
pub use self::reranking::RerankingRetriever;
pub use self::rewrite::{Hyde, ModelRewriter, MultiQuery, QueryRewriter, RewritingRetriever, WeightedQuery};
pub use self::searcher::{Searcher, search_by_parts};
pub use self::tool::RetrieverTool;
use crate::context::RunContext;
use crate::embed::Embedding;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, DocumentId};
use crate::scope::TenantScope;

/// Most hits a request may ask for.
pub const MAX_TOP_K: usize = 1000;
/// The furthest a page may begin.
const MAX_OFFSET: usize = 10_000;
/// Longest query in bytes.
pub const MAX_QUERY_BYTES: usize = 64 * 1024;

/// Finds the passages that answer a question.
///
/// # Contract for implementers
/// - At most `top_k` hits, best first; equal scores are ordered by chunk id, so the order is deterministic.
/// - Every hit matches the filter, belongs to the scope, and carries an [`Explanation`].
/// - A hit's text is the source text cut at its span.
/// - The query's text is plain text: no character of it is syntax.
/// - [`SearchRequest::validate`] is called first and its error returned.
/// - The call ends soon after `ctx` stops.
#[async_trait]
pub trait Retriever: Send + Sync {
    /// Answers `request`.
    ///
    /// # Cancel safety
    /// Cancel safe: searching changes nothing.
    ///
    /// # Errors
    /// Invalid input, unsupported (a plan node), unavailable, corrupt, or stopped.
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse>;

    /// Gives the hits of an answer to `request` more of the text around them: the same hits in the same order, with other
    /// spans, texts and locators. A retriever that cannot says so.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unsupported, unless it is implemented; unavailable, corrupt, or stopped.
    async fn expand(
        &self,
        request: &SearchRequest,
        hits: Vec<Hit>,
        to: Expansion,
        ctx: &RunContext,
    ) -> Result<Vec<Hit>> {
        let _ = (request, hits, to, ctx);
        Err(Error::new(ErrorKind::Unsupported, "this retriever cannot widen passages"))
    }
}

/// A question to a [`Retriever`].
///
/// # Examples
/// ```
/// use agentkit_core::{Filter, SearchRequest, TenantScope};
///
/// let request = SearchRequest::new(TenantScope::local(), "how do I reset it?")
///     .top_k(5)
///     .filter(Filter::eq("product", "x100"));
/// assert!(request.validate().is_ok());
/// assert!(request.top_k(0).validate().is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SearchRequest {
    /// For whom to search, and where.
    pub scope: TenantScope,
    /// The question, as plain text.
    pub text: String,
    /// Most hits to return, 1 to [`MAX_TOP_K`].
    pub top_k: usize,
    /// Which chunks may be found; `None` means all.
    pub filter: Option<Filter>,
    /// How to search.
    pub plan: SearchPlan,
    /// How many of the best to leave out: where a page begins. Pages are cut out of one ranking, which is as deep as the
    /// plan's candidates, or as `top_k` if that is more; so ask for all pages with the same `top_k`.
    pub offset: usize,
    /// Fail with a conflict unless this is the state of the index, as the page before had it; `None` takes any.
    pub generation: Option<u64>,
    /// What was said before the question. A retriever that does not rewrite questions takes no notice of it.
    pub conversation: Conversation,
}

impl SearchRequest {
    /// Asks for the ten best hits by the default plan.
    #[must_use]
    pub fn new(scope: TenantScope, text: impl Into<String>) -> Self {
        Self {
            scope,
            text: text.into(),
            top_k: 10,
            filter: None,
            plan: SearchPlan::default(),
            offset: 0,
            generation: None,
            conversation: Conversation::default(),
        }
    }

    /// Asks for at most this many hits.
    #[must_use]
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Finds only what matches.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Searches in this way.
    #[must_use]
    pub fn plan(mut self, plan: SearchPlan) -> Self {
        self.plan = plan;
        self
    }

    /// Begins after this many hits.
    #[must_use]
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Wants this state of the index and no other.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::testing::MemoryRetriever;
    /// use agentkit_core::{Metadata, Retriever, RunContext, SearchRequest, TenantScope};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (retriever, scope, ctx) = (MemoryRetriever::new(), TenantScope::local(), RunContext::new());
    /// for id in ["a", "b", "c"] {
    ///     retriever.add_text(&scope, id, "green tea", &Metadata::new()).unwrap();
    /// }
    /// let request = SearchRequest::new(scope.clone(), "tea").top_k(2);
    /// let first = retriever.search(&request, &ctx).await.unwrap();
    /// let next = request.offset(2).at_generation(first.generation);
    /// assert_eq!(retriever.search(&next, &ctx).await.unwrap().hits.len(), 1);
    /// retriever.add_text(&scope, "d", "black tea", &Metadata::new()).unwrap();
    /// assert!(retriever.search(&next, &ctx).await.unwrap_err().kind() == agentkit_core::ErrorKind::Conflict);
    /// # });
    /// ```
    #[must_use]
    pub fn at_generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Checks that the state of the index is the one wanted.
    ///
    /// # Errors
    /// Conflict if it is another.
    pub fn check_generation(&self, generation: u64) -> Result<()> {
        match self.generation {
            Some(wanted) if wanted != generation => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the index is in state {generation}, not {wanted} any more; begin again at the first page"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The question was asked in this conversation; see [`RewritingRetriever`].
    #[must_use]
    pub fn conversation(mut self, before: Conversation) -> Self {
        self.conversation = before;
        self
    }

    /// Checks the limits every retriever shares.
    ///
    /// # Errors
    /// Invalid input: blank or too long text, `top_k` or `offset` out of range, a malformed filter or plan.
    pub fn validate(&self) -> Result<()> {
        plain_text("the query", &self.text, MAX_QUERY_BYTES)?;
        if !(1..=MAX_TOP_K).contains(&self.top_k) {
            return Err(Error::invalid_input(format!(
                "top_k must be between 1 and {MAX_TOP_K}, got {}",
                self.top_k
            )));
        }
        if self.offset > MAX_OFFSET {
            return Err(Error::invalid_input(format!(
                "offset must be at most {MAX_OFFSET}, got {}",
                self.offset
            )));
        }
        if let Some(filter) = &self.filter {
            filter.validate()?;
        }
        self.plan.validate()
    }
}

/// Checks that `text` says something, is not too long and holds no NUL, which no text has.
pub(crate) fn plain_text(what: &str, text: &str, most: usize) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid_input(format!("{what} is empty; send the question as text")));
    }
    if text.len() > most {
        return Err(Error::invalid_input(format!(
            "{what} has {} bytes, at most {most} are allowed",
            text.len()
        )));
    }
    match text.find('\0') {
        Some(at) => Err(Error::invalid_input(format!("{what} holds a NUL at byte {at}, so it is not text"))),
        None => Ok(()),
    }
}

/// The answer to a [`SearchRequest`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SearchResponse {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// Chunks that match scope and filter, found or not.
    pub matches: u64,
    /// The state of the index that was searched; grows with every commit.
    pub generation: u64,
    /// What was searched for in place of the question; empty if it was the question itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<String>,
    /// The embedding of the question as it was searched for, from a retriever that made one; it spares another the work.
    #[serde(skip)]
    pub vector: Option<Embedding>,
}

impl SearchResponse {
    /// An answer of these hits.
    #[must_use]
    pub fn new(hits: Vec<Hit>, matches: u64, generation: u64) -> Self {
        Self { hits, matches, generation, queries: Vec::new(), vector: None }
    }
}

/// A found chunk and why it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// What was found.
    #[serde(flatten)]
    pub passage: Passage,
    /// The final score; comparable only within one response.
    pub score: f32,
    /// The document's metadata.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// How the score came about.
    pub explanation: Explanation,
}

/// A piece of a document's source text, with where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its document.
    pub document_id: DocumentId,
    /// The document's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The source text cut at `span`.
    pub text: String,
    /// Byte range in the document's source text.
    pub span: Span,
    /// Where to find it in the original.
    #[serde(default)]
    pub locator: Locator,
}
