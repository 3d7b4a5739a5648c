//! Calls of a reranker as spans; the conventions have no name for them yet.

use async_trait::async_trait;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{TARGET, Traced, count, failed};
use crate::context::RunContext;
use crate::error::Result;
use crate::rerank::Reranker;

#[async_trait]
impl<R: Reranker + ?Sized> Reranker for Traced<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        let name = self.inner.name();
        let span = tracing::info_span!(
            target: TARGET,
            "rerank",
            otel.name = format_args!("rerank {name}"),
            otel.status_code = Empty,
            "error.type" = Empty,
            agentkit.reranker = name,
            agentkit.passages = count(passages.len()),
        );
        let scores = self.inner.rerank(query, passages, ctx).instrument(span.clone()).await;
        scores.inspect_err(|error| failed(&span, error))
    }
}
