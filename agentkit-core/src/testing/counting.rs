//! An embedder that counts what another embeds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::Result;

/// Embeds as another embedder does and counts the texts, to show what is embedded again and what is not.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{CountingEmbedder, HashingEmbedder};
/// use agentkit_core::{EmbedSide, Embedder, RunContext};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let embedder = CountingEmbedder::new(Arc::new(HashingEmbedder::new()));
/// embedder.embed(EmbedSide::Query, vec!["green tea".into()], &RunContext::new()).await.unwrap();
/// assert_eq!((embedder.queries(), embedder.documents()), (1, 0));
/// # });
/// ```
pub struct CountingEmbedder {
    inner: Arc<dyn Embedder>,
    queries: AtomicUsize,
    documents: AtomicUsize,
}

impl CountingEmbedder {
    /// Counts what `inner` is given to embed.
    #[must_use]
    pub fn new(inner: Arc<dyn Embedder>) -> Self {
        Self { inner, queries: AtomicUsize::default(), documents: AtomicUsize::default() }
    }

    /// Texts given to be embedded as queries so far.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    /// Texts given to be embedded as documents so far.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.documents.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for CountingEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queries, documents) = (self.queries(), self.documents());
        f.debug_struct("CountingEmbedder")
            .field("queries", &queries)
            .field("documents", &documents)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Embedder for CountingEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        self.inner.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn familiarity(&self, text: &str) -> f32 {
        self.inner.familiarity(text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        let counted = match side {
            EmbedSide::Query => &self.queries,
            EmbedSide::Document => &self.documents,
        };
        counted.fetch_add(texts.len(), Ordering::Relaxed);
        self.inner.embed(side, texts, ctx).await
    }
}
