//! What becomes of a model's events: an answer with its citations, or calls of the caller's tools.

use agentkit_core::{
    AgentEventKind, CallIds, ChatEvent, Emitter, Error, ErrorKind, FinishReason, Outcome, Passage, Result,
    RunContext, Span, ToolCall,
};

use super::REFUSAL;
use super::cite::{MarkerReader, citation, support};

/// An answer being made.
pub(super) struct Answer<'r> {
    ctx: &'r RunContext,
    out: &'r Emitter<AgentEventKind>,
    passages: Vec<Passage>,
    /// Reads `[n]`, if the model does not cite by itself.
    markers: Option<MarkerReader>,
    text: String,
    cited: usize,
    /// The ids of calls that are taken, if tools of the caller may be called.
    ids: Option<CallIds>,
    /// The calls of them, which are told only if they are whole.
    calls: Vec<ToolCall>,
}

impl<'r> Answer<'r> {
    /// An answer from `passages`; `native` says that the model cites by itself.
    pub(super) fn new(
        ctx: &'r RunContext,
        out: &'r Emitter<AgentEventKind>,
        passages: Vec<Passage>,
        native: bool,
    ) -> Self {
        let markers = (!native).then(MarkerReader::default);
        Self { ctx, out, passages, markers, text: String::new(), cited: 0, ids: None, calls: Vec::new() }
    }

    /// Lets tools of the caller be called, beside the calls of which these are the ids.
    pub(super) fn calls(mut self, ids: CallIds) -> Self {
        self.ids = Some(ids);
        self
    }

    /// Passes a model's event on; gives the answer and how it ended if it was the last.
    pub(super) async fn take(&mut self, event: ChatEvent) -> Result<Option<(String, Outcome)>> {
        match event {
            ChatEvent::Delta { text } => self.delta(text).await?,
            ChatEvent::Citation(cited) if self.markers.is_none() => {
                self.cite(cited.number, cited.span).await?;
            }
            ChatEvent::Usage(usage) => {
                self.out.emit(AgentEventKind::Usage(usage)).await?;
                self.ctx.spend_tokens(usage.total())?;
            }
            ChatEvent::ToolCall(call) => self.calls.extend(self.ids.as_mut().map(|ids| ids.normalised(call))),
            ChatEvent::Finished { reason } => return self.finish(reason).await.map(Some),
            // Events of a later version have no meaning here.
            _ => {}
        }
        Ok(None)
    }

    async fn finish(&mut self, reason: FinishReason) -> Result<(String, Outcome)> {
        let outcome = self.outcome(reason)?;
        for call in self.calls.drain(..).filter(|_| outcome == Outcome::Waiting) {
            self.out.emit(AgentEventKind::ToolCalled(call)).await?;
        }
        Ok((std::mem::take(&mut self.text), outcome))
    }

    async fn delta(&mut self, text: String) -> Result<()> {
        self.text.push_str(&text);
        let found = self.markers.as_mut().map(|reader| reader.push(&text)).unwrap_or_default();
        self.out.emit(AgentEventKind::Delta { text }).await?;
        for marker in found {
            for number in marker.numbers {
                let passage = number.checked_sub(1).and_then(|at| self.passages.get(at));
                let span = passage.map(|passage| support(&marker.claim, passage)).unwrap_or_default();
                self.cite(number, span).await?;
            }
        }
        Ok(())
    }

    async fn cite(&mut self, number: usize, span: Span) -> Result<()> {
        let Some(citation) = citation(number, span, &self.passages) else {
            tracing::warn!(number, ?span, "dropped a citation that quotes no passage");
            return Ok(());
        };
        self.cited += 1;
        self.out.emit(AgentEventKind::Citation(citation)).await
    }

    fn outcome(&self, reason: FinishReason) -> Result<Outcome> {
        match reason {
            // Some providers say that they stopped, whatever they asked for.
            FinishReason::ToolCalls | FinishReason::Stop if !self.calls.is_empty() => Ok(Outcome::Waiting),
            FinishReason::Refused => Ok(Outcome::Refused),
            FinishReason::Stop if self.cited == 0 && self.text.trim().starts_with(REFUSAL) => {
                Ok(Outcome::Refused)
            }
            FinishReason::Stop => Ok(Outcome::Answered),
            FinishReason::ToolCalls if !self.text.trim().is_empty() => Ok(Outcome::Answered),
            FinishReason::Length => Ok(Outcome::Truncated),
            FinishReason::ContentFilter => Err(Error::new(
                ErrorKind::Unsupported,
                "the model's provider withheld the answer; rephrase the question or use another model",
            )),
            other => Err(Error::internal(format!(
                "the model stopped for {other:?}, but called no tool that was offered"
            ))),
        }
    }
}
