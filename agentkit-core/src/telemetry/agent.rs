//! Runs of an agent as spans.

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::watched::Watched;
use super::{TARGET, Traced, count, failed, name};
use crate::agent::{Agent, AgentEventKind, AgentInput, AgentStream};
use crate::context::RunContext;
use crate::error::Result;

#[async_trait]
impl<A: Agent + ?Sized> Agent for Traced<A> {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        let (span, begun) = (span(&self.name), Instant::now());
        let run = self.inner.run(input, ctx).instrument(span.clone()).await;
        let run = run.inspect_err(|error| failed(&span, error))?;
        let mut silent = true;
        let note = move |span: &Span, event: &AgentEventKind| {
            if matches!(event, AgentEventKind::Delta { .. }) && std::mem::take(&mut silent) {
                span.record("agentkit.time_to_first_token", begun.elapsed().as_secs_f64());
            }
            note(span, event);
        };
        Ok(run.seen_through(|events| Watched::new(events, span, note)))
    }
}

fn span(agent: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "invoke_agent",
        otel.name = format_args!("invoke_agent {agent}"),
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = agent,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        agentkit.time_to_first_token = Empty,
        agentkit.sources = Empty,
        agentkit.outcome = Empty,
    )
}

fn note(span: &Span, event: &AgentEventKind) {
    match event {
        AgentEventKind::Retrieved { sources, .. } => {
            span.record("agentkit.sources", count(sources.len()));
        }
        AgentEventKind::Usage(usage) => {
            span.record("gen_ai.usage.input_tokens", count(usage.input_tokens));
            span.record("gen_ai.usage.output_tokens", count(usage.output_tokens));
        }
        AgentEventKind::Done { outcome } => {
            span.record("agentkit.outcome", name(outcome));
        }
        _ => {}
    }
}
