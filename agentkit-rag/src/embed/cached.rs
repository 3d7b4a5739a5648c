//! A bounded cache of query embeddings around any embedder.

use std::fmt;
use std::sync::Arc;

use agentkit_core::{EmbedSide, Embedder, EmbedderIdentity, Embedding, Error, Result, RunContext, telemetry};
use async_trait::async_trait;
use moka::sync::Cache;

/// Remembers the embeddings of the queries asked last; documents pass through.
///
/// An embedding is a function of the model and the text alone, so an entry is the same for everybody and is
/// shared between tenants. No tenant can read another's entries; one who measures time could tell that
/// somebody has asked the very same question before. Leave the cache out where that matters.
///
/// Entries are keyed by a hash of the model's identity and the text, so the text itself is not kept.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::Embedder;
/// use agentkit_rag::embed::CachedEmbedder;
///
/// fn with_cache(embedder: Arc<dyn Embedder>) -> Arc<dyn Embedder> {
///     Arc::new(CachedEmbedder::new(embedder, CachedEmbedder::DEFAULT_ENTRIES))
/// }
/// ```
pub struct CachedEmbedder {
    inner: Arc<dyn Embedder>,
    seed: blake3::Hasher,
    entries: Cache<[u8; 32], Embedding>,
}

impl CachedEmbedder {
    /// Ten thousand queries, 15 MB with 384 dimensions.
    pub const DEFAULT_ENTRIES: u64 = 10_000;

    /// Remembers at most `entries` queries of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Embedder>, entries: u64) -> Self {
        let mut seed = blake3::Hasher::new();
        let identity = inner.identity();
        for part in [&identity.name, &identity.pooling, &identity.revision] {
            seed.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        for number in [identity.dimension, identity.max_tokens, usize::from(identity.normalized)] {
            seed.update(&(number as u64).to_le_bytes());
        }
        Self { inner, seed, entries: Cache::new(entries) }
    }

    fn key(&self, text: &str) -> [u8; 32] {
        *self.seed.clone().update(text.as_bytes()).finalize().as_bytes()
    }
}

impl fmt::Debug for CachedEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedEmbedder")
            .field("identity", self.inner.identity())
            .field("entries", &self.entries.entry_count())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Embedder for CachedEmbedder {
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
        if side == EmbedSide::Document {
            return self.inner.embed(side, texts, ctx).await;
        }
        ctx.check()?;
        let keys: Vec<_> = texts.iter().map(|text| self.key(text)).collect();
        let mut found: Vec<_> = keys.iter().map(|key| self.entries.get(key)).collect();
        for hit in &found {
            telemetry::looked_up("query_embeddings", hit.is_some());
        }
        let missing: Vec<_> =
            texts.into_iter().zip(&found).filter(|(_, hit)| hit.is_none()).map(|(text, _)| text).collect();
        if !missing.is_empty() {
            let mut fresh = self.inner.embed(side, missing, ctx).await?.into_iter();
            for (slot, key) in found.iter_mut().zip(keys).filter(|(slot, _)| slot.is_none()) {
                *slot = fresh.next().inspect(|embedding| self.entries.insert(key, embedding.clone()));
            }
        }
        let complete: Option<Vec<_>> = found.into_iter().collect();
        complete.ok_or_else(|| Error::internal("the embedder returned fewer embeddings than texts"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Counting(EmbedderIdentity, AtomicUsize);

    #[async_trait]
    impl Embedder for Counting {
        fn identity(&self) -> &EmbedderIdentity {
            &self.0
        }

        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }

        fn familiarity(&self, _text: &str) -> f32 {
            0.5
        }

        async fn embed(&self, _: EmbedSide, texts: Vec<String>, _: &RunContext) -> Result<Vec<Embedding>> {
            self.1.fetch_add(texts.len(), Ordering::Relaxed);
            texts.iter().map(|text| Embedding::new(vec![f32::from(text.as_bytes()[0])])).collect()
        }
    }

    #[tokio::test]
    async fn a_query_is_embedded_once_and_the_order_is_kept() {
        let inner = Arc::new(Counting(EmbedderIdentity::new("counting", 1, 10), AtomicUsize::new(0)));
        let cached = CachedEmbedder::new(Arc::clone(&inner) as _, 10);
        let ctx = RunContext::new();
        let ask = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let first = cached.embed(EmbedSide::Query, ask(&["b"]), &ctx).await.unwrap();
        let both = cached.embed(EmbedSide::Query, ask(&["a", "b", "c"]), &ctx).await.unwrap();
        assert_eq!(both[1], first[0]);
        let firsts: Vec<_> = both.iter().map(|e| e.as_slice()[0]).collect();
        assert_eq!(firsts, [97.0, 98.0, 99.0]);
        assert_eq!(inner.1.load(Ordering::Relaxed), 3);
        assert!((cached.familiarity("a") - 0.5).abs() < f32::EPSILON, "as the embedder says");
        cached.embed(EmbedSide::Document, ask(&["a"]), &ctx).await.unwrap();
        assert_eq!(inner.1.load(Ordering::Relaxed), 4);
    }
}
