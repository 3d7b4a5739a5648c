//! Calls of a chat model as spans.

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::watched::Watched;
use super::{TARGET, Traced, count, failed, name};
use crate::context::RunContext;
use crate::error::Result;
use crate::model::{ChatEvent, ChatModel, ChatRequest, ChatStream, ModelInfo};

#[async_trait]
impl<M: ChatModel + ?Sized> ChatModel for Traced<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let (span, begun) = (span(self.inner.info(), &request), Instant::now());
        let answer = self.inner.stream(request, ctx).instrument(span.clone()).await;
        let answer = answer.inspect_err(|error| failed(&span, error))?;
        let mut silent = true;
        Ok(ChatStream::new(Watched::new(answer, span, move |span: &Span, event: &ChatEvent| {
            if std::mem::take(&mut silent) {
                span.record("gen_ai.response.time_to_first_chunk", begun.elapsed().as_secs_f64());
            }
            note(span, event);
        })))
    }
}

fn span(info: &ModelInfo, request: &ChatRequest) -> Span {
    tracing::info_span!(
        target: TARGET,
        "chat",
        otel.name = format_args!("chat {}", info.name),
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = info.provider,
        gen_ai.request.model = info.name,
        gen_ai.request.stream = true,
        gen_ai.request.max_tokens = request.max_tokens.map(i64::from),
        gen_ai.request.temperature = request.temperature,
        gen_ai.request.seed = request.seed.map(count),
        agentkit.finish_reason = Empty,
        gen_ai.response.time_to_first_chunk = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
    )
}

fn note(span: &Span, event: &ChatEvent) {
    match event {
        ChatEvent::Usage(usage) => {
            span.record("gen_ai.usage.input_tokens", count(usage.input_tokens));
            span.record("gen_ai.usage.output_tokens", count(usage.output_tokens));
        }
        ChatEvent::Finished { reason } => {
            span.record("agentkit.finish_reason", name(reason));
        }
        _ => {}
    }
}
