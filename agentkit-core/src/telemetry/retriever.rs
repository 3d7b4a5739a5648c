//! Searches as spans.

use async_trait::async_trait;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::{TARGET, Traced, count, failed};
use crate::context::RunContext;
use crate::error::Result;
use crate::retrieve::{Expansion, Hit, Retriever, SearchRequest, SearchResponse};

#[async_trait]
impl<R: Retriever + ?Sized> Retriever for Traced<R> {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        let span = span(request);
        let found = self.inner.search(request, ctx).instrument(span.clone()).await;
        match &found {
            Ok(found) => {
                span.record("agentkit.hits", count(found.hits.len()));
                span.record("agentkit.generation", count(found.generation));
            }
            Err(error) => failed(&span, error),
        }
        found
    }

    async fn expand(
        &self,
        request: &SearchRequest,
        hits: Vec<Hit>,
        to: Expansion,
        ctx: &RunContext,
    ) -> Result<Vec<Hit>> {
        self.inner.expand(request, hits, to, ctx).await
    }
}

fn span(request: &SearchRequest) -> Span {
    let collection = request.scope.collection();
    tracing::info_span!(
        target: TARGET,
        "retrieval",
        otel.name = format_args!("retrieval {collection}"),
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "retrieval",
        gen_ai.data_source.id = %collection,
        agentkit.top_k = count(request.top_k),
        agentkit.hits = Empty,
        agentkit.generation = Empty,
    )
}
