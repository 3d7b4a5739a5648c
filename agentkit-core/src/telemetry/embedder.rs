//! Calls of an embedder as spans.

use async_trait::async_trait;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::{TARGET, Traced, count, failed, name};
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::Result;

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for Traced<E> {
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
        let span = span(self.inner.identity(), side, texts.len());
        let embedded = self.inner.embed(side, texts, ctx).instrument(span.clone()).await;
        embedded.inspect_err(|error| failed(&span, error))
    }
}

fn span(identity: &EmbedderIdentity, side: EmbedSide, texts: usize) -> Span {
    tracing::info_span!(
        target: TARGET,
        "embeddings",
        otel.name = format_args!("embeddings {}", identity.name),
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "embeddings",
        gen_ai.request.model = identity.name,
        gen_ai.embeddings.dimension.count = count(identity.dimension),
        agentkit.side = name(&side),
        agentkit.texts = count(texts),
    )
}
