//! An agent that quotes the best passage it finds, in variants that break one rule each.

use std::sync::Arc;

use agentkit_core::testing::{MemoryRetriever, WindowMemory};
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, AgentStream, Citation, Emitter, Memory, Message, Outcome, Result,
    Retriever, RunContext, SearchRequest, SessionKey, Source, Span, ToolCall, ToolResult,
};
use async_trait::async_trait;

/// Which rule the agent breaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Flaw {
    None,
    EndsTwice,
    StartsLate,
    Misquotes,
    ForgetsTurns,
    IgnoresItsContext,
    AcceptsBlankMessages,
    LeavesACallOpen,
    AnswersNoCall,
}

#[derive(Clone)]
pub(crate) struct QuotingAgent {
    pub(crate) retriever: Arc<MemoryRetriever>,
    pub(crate) memory: Arc<WindowMemory>,
    pub(crate) flaw: Flaw,
}

#[async_trait]
impl Agent for QuotingAgent {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        if self.flaw != Flaw::AcceptsBlankMessages {
            input.validate()?;
        }
        let (agent, ctx) = (self.clone(), ctx.clone());
        Ok(AgentStream::generate(move |out| async move { agent.answer(input, ctx, out).await }))
    }
}

impl QuotingAgent {
    async fn answer(self, input: AgentInput, ctx: RunContext, out: Emitter<AgentEventKind>) -> Result<()> {
        let started =
            AgentEventKind::Started { trace_id: ctx.trace().trace_id(), session_id: input.session.clone() };
        let ctx = if self.flaw == Flaw::IgnoresItsContext { RunContext::new() } else { ctx };
        if self.flaw == Flaw::StartsLate {
            out.emit(AgentEventKind::Delta { text: "well,".into() }).await?;
        }
        out.emit(started).await?;
        let sources = self.sources(&input, &ctx).await?;
        let query = input.message.clone();
        out.emit(AgentEventKind::Retrieved { query, sources: sources.clone() }).await?;
        let text = sources.first().map_or("not in the sources".into(), |source| source.passage.text.clone());
        out.emit(AgentEventKind::Delta { text: text.clone() }).await?;
        if let Some(source) = sources.first() {
            out.emit(AgentEventKind::Citation(self.cite(source))).await?;
        }
        if let Some(session) = input.session.filter(|_| self.flaw != Flaw::ForgetsTurns) {
            let key = SessionKey::new(input.scope, session);
            let turn = vec![Message::user(input.message), Message::assistant(text)];
            self.memory.append(&key, turn, &ctx).await?;
        }
        let call = ToolCall { id: "1".into(), name: "look".into(), arguments: serde_json::json!({}) };
        let result = ToolResult { call_id: "1".into(), content: "nothing".into(), is_error: false };
        match self.flaw {
            Flaw::LeavesACallOpen => out.emit(AgentEventKind::ToolCalled(call)).await?,
            Flaw::AnswersNoCall => out.emit(AgentEventKind::ToolReturned(result)).await?,
            _ => {}
        }
        let outcome = if sources.is_empty() { Outcome::Refused } else { Outcome::Answered };
        if self.flaw == Flaw::EndsTwice {
            out.emit(AgentEventKind::Done { outcome }).await?;
        }
        out.emit(AgentEventKind::Done { outcome }).await
    }

    async fn sources(&self, input: &AgentInput, ctx: &RunContext) -> Result<Vec<Source>> {
        let request = SearchRequest::new(input.scope.clone(), &input.message).top_k(3);
        let found = self.retriever.search(&request, ctx).await?;
        let numbered = found.hits.into_iter().enumerate();
        Ok(numbered
            .map(|(at, hit)| Source { number: at + 1, passage: hit.passage, score: hit.score })
            .collect())
    }

    fn cite(&self, source: &Source) -> Citation {
        let passage = &source.passage;
        let end = passage.text.find('.').map_or(passage.text.len(), |at| at + 1);
        let quote = if self.flaw == Flaw::Misquotes { "something else" } else { &passage.text[..end] };
        Citation {
            number: source.number,
            document_id: passage.document_id.clone(),
            chunk_id: passage.chunk_id.clone(),
            title: passage.title.clone(),
            quote: quote.into(),
            span: Span::new(0, end).shifted(passage.span.start),
            locator: passage.locator.clone(),
        }
    }
}
