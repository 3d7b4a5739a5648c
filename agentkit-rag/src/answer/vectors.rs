//! The embeddings of sentences, remembered for a while and for each tenant apart.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{EmbedSide, Embedder, Embedding, Error, Result, RunContext, TenantId, telemetry};
use moka::sync::Cache;

/// Some 25 MB with 384 dimensions.
const MOST: u64 = 16_384;
/// Sentences of a passage that is no longer asked about, or has been deleted, go after this time.
const IDLE: Duration = Duration::from_mins(10);

/// Embeds sentences, those only that it did not embed lately for the same tenant.
///
/// Were they shared between tenants, the time an answer takes would tell one what another has stored.
#[derive(Clone)]
pub(super) struct SentenceVectors {
    embedder: Arc<dyn Embedder>,
    known: Cache<[u8; 32], Embedding>,
}

impl SentenceVectors {
    pub(super) fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self { embedder, known: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build() }
    }

    /// Forgets all that is remembered, for every tenant.
    pub(super) fn clear(&self) {
        self.known.invalidate_all();
    }

    /// The vectors of `sentences`, in order.
    pub(super) async fn of(
        &self,
        tenant: &TenantId,
        sentences: &[&str],
        ctx: &RunContext,
    ) -> Result<Vec<Embedding>> {
        let keys: Vec<_> = sentences.iter().map(|sentence| key(tenant, sentence)).collect();
        let mut vectors: Vec<_> = keys.iter().map(|key| self.known.get(key)).collect();
        for vector in &vectors {
            telemetry::looked_up("sentence_embeddings", vector.is_some());
        }
        let unknown = sentences.iter().zip(&vectors).filter(|(_, vector)| vector.is_none());
        let unknown: Vec<String> = unknown.map(|(sentence, _)| (*sentence).to_owned()).collect();
        let embedded = if unknown.is_empty() {
            Vec::new()
        } else {
            ctx.run(self.embedder.embed(EmbedSide::Document, unknown, ctx)).await?
        };
        let mut embedded = embedded.into_iter();
        for (vector, key) in vectors.iter_mut().zip(keys).filter(|(vector, _)| vector.is_none()) {
            *vector = embedded.next().inspect(|vector| self.known.insert(key, vector.clone()));
        }
        let complete: Option<Vec<_>> = vectors.into_iter().collect();
        complete.ok_or_else(|| Error::internal("the embedder returned fewer embeddings than texts"))
    }
}

fn key(tenant: &TenantId, sentence: &str) -> [u8; 32] {
    let tenant = tenant.as_str().as_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes()).update(tenant).update(sentence.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use agentkit_core::testing::{CountingEmbedder, HashingEmbedder};

    use super::*;

    #[tokio::test]
    async fn a_sentence_is_embedded_once_for_each_tenant() {
        let counting = Arc::new(CountingEmbedder::new(Arc::new(HashingEmbedder::new())));
        let (vectors, ctx) = (SentenceVectors::new(counting.clone()), RunContext::new());
        let (ours, theirs) = (TenantId::new("ours").unwrap(), TenantId::new("theirs").unwrap());
        let first = vectors.of(&ours, &["One.", "Two."], &ctx).await.unwrap();
        assert_eq!(counting.documents(), 2);
        let again = vectors.of(&ours, &["Two.", "Three.", "One."], &ctx).await.unwrap();
        assert_eq!((counting.documents(), &again[0], &again[2]), (3, &first[1], &first[0]));
        assert_eq!(vectors.of(&theirs, &["One."], &ctx).await.unwrap(), first[..1]);
        assert_eq!(counting.documents(), 4);
        vectors.clear();
        assert_eq!(vectors.of(&ours, &["One."], &ctx).await.unwrap(), first[..1]);
        assert_eq!(counting.documents(), 5, "what was forgotten is embedded again");
    }
}
