//! An embedder that counts, for tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{EmbedSide, Embedder, EmbedderIdentity, Embedding, Result, RunContext};
use async_trait::async_trait;

/// Counts the texts of documents.
pub(super) struct Counting(HashingEmbedder, AtomicUsize);

impl Counting {
    pub(super) fn new(inner: HashingEmbedder) -> Self {
        Self(inner, AtomicUsize::new(0))
    }

    pub(super) fn documents(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Embedder for Counting {
    fn identity(&self) -> &EmbedderIdentity {
        self.0.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }

    fn familiarity(&self, text: &str) -> f32 {
        self.0.familiarity(text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        if side == EmbedSide::Document {
            self.1.fetch_add(texts.len(), Ordering::Relaxed);
        }
        self.0.embed(side, texts, ctx).await
    }
}
