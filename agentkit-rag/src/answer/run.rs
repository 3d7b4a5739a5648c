//! One run of the agent: its steps in order, and what becomes of the model's events.

use agentkit_core::{
    AgentEventKind, AgentInput, ChatEvent, ChatRequest, Conversation, Emitter, Error, ErrorKind,
    FinishReason, Message, Outcome, Part, Passage, Result, Role, RunContext, SearchRequest, SearchResponse,
    SessionKey, Source,
};

use super::REFUSAL;
use super::agent::RagAgent;
use super::cite::{MarkerReader, citation, support, without_markers};
use super::pack::{estimate_tokens, pack};

/// Most messages recalled of a session.
const RECALLED: usize = 20;
/// Share of the model's context that the history may take: one in so many.
const HISTORY_SHARE: usize = 4;
/// Share of the model's context that is kept for its answer, and the most that is.
const ANSWER_SHARE: usize = 4;
const ANSWER_TOKENS: usize = 2_048;
/// Passages named when the question is not answered, and the words before them.
const NAMED: usize = 5;
const NEAREST: &str = "The nearest passages:";

type Out = Emitter<AgentEventKind>;

/// A question on its way.
pub(super) struct Run {
    pub(super) agent: RagAgent,
    pub(super) input: AgentInput,
    pub(super) ctx: RunContext,
}

impl Run {
    /// Runs all steps; an error ends the run and nothing is remembered.
    pub(super) async fn drive(self, out: Out) -> Result<()> {
        let (text, outcome) = self.ctx.run(Box::pin(self.answer(&out))).await?;
        self.remember(text).await?;
        out.emit(AgentEventKind::Done { outcome }).await
    }

    async fn answer(&self, out: &Out) -> Result<(String, Outcome)> {
        let trace_id = self.ctx.trace().trace_id();
        out.emit(AgentEventKind::Started { trace_id, session_id: self.input.session.clone() }).await?;
        let history = self.history().await?;
        let Found { query, sources, doubtful } = self.retrieve(&history).await?;
        let passages: Vec<Passage> = sources.iter().map(|source| source.passage.clone()).collect();
        out.emit(AgentEventKind::Retrieved { query, sources }).await?;
        if passages.is_empty() {
            out.emit(AgentEventKind::Delta { text: REFUSAL.into() }).await?;
            return Ok((REFUSAL.into(), Outcome::Refused));
        }
        if doubtful {
            return self.doubt(out, &passages).await;
        }
        self.ask_model(out, history, passages).await
    }

    /// Refuses, and names the passages that come nearest.
    async fn doubt(&self, out: &Out, passages: &[Passage]) -> Result<(String, Outcome)> {
        let numbers = 1..=passages.len().min(NAMED);
        let markers: Vec<String> = numbers.clone().map(|number| format!("[{number}]")).collect();
        let text = format!("{REFUSAL} {NEAREST} {}", markers.join(" "));
        out.emit(AgentEventKind::Delta { text: text.clone() }).await?;
        for (number, passage) in numbers.zip(passages) {
            let span = support(&self.input.message, passage);
            if let Some(citation) = citation(number, span, passages) {
                out.emit(AgentEventKind::Citation(citation)).await?;
            }
        }
        Ok((text, Outcome::Refused))
    }

    /// What was said before: by the history that came with the message, else by the session's latest messages.
    async fn said(&self) -> Result<Vec<Message>> {
        match (&self.agent.memory, self.session_key()) {
            _ if self.input.tells_turns() => Ok(self.input.history.clone()),
            (Some(memory), Some(key)) => memory.recall(&key, RECALLED, &self.ctx).await,
            _ => Ok(Vec::new()),
        }
    }

    /// The latest of what was said before, as much as fits.
    async fn history(&self) -> Result<Vec<Turn>> {
        let messages = self.said().await?;
        let mut left = self.agent.model.info().context_tokens / HISTORY_SHARE;
        let mut turns: Vec<Turn> = Vec::new();
        let turn = |message: &&Message| matches!(message.role, Role::User | Role::Assistant);
        for message in messages.iter().rev().filter(turn).take(RECALLED) {
            // The numbers of an earlier answer mean other passages than those of this turn.
            let text = without_markers(&message.joined_text());
            let Some(rest) = left.checked_sub(estimate_tokens(&text)) else { break };
            left = rest;
            turns.push(Turn { role: message.role, text });
        }
        turns.reverse();
        // Some models want the user to speak first.
        let first = turns.iter().position(|turn| turn.role == Role::User).unwrap_or(turns.len());
        Ok(turns.split_off(first))
    }

    async fn retrieve(&self, history: &[Turn]) -> Result<Found> {
        // A refusal says nothing that a question could lean on.
        let said = history.iter().filter(|turn| !turn.text.starts_with(REFUSAL));
        let said = said.map(|turn| Message::text(turn.role, turn.text.as_str())).collect();
        let mut request = SearchRequest::new(self.input.scope.clone(), self.input.message.as_str())
            .top_k(self.agent.top_k)
            .plan(self.agent.plan.clone())
            .conversation(Conversation::new(said));
        request.filter.clone_from(&self.input.filter);
        let response = self.agent.searcher().search(&request, &self.ctx).await?;
        let doubtful = self.is_doubtful(&request, &response).await?;
        let query = response.queries.into_iter().max_by_key(String::len).unwrap_or(request.text);
        let packed = pack(response.hits, self.passage_budget(history));
        let source = |(number, (passage, score))| Source { number, passage, score };
        Ok(Found { query, sources: (1..).zip(packed).map(source).collect(), doubtful })
    }

    /// Whether there is a judge who finds too little support.
    async fn is_doubtful(&self, asked: &SearchRequest, found: &SearchResponse) -> Result<bool> {
        let Some(judge) = &self.agent.support else { return Ok(false) };
        Ok(!judge.suffices(asked, found, &self.ctx).await?)
    }

    /// Tokens the passages may have beside everything else the model is given.
    fn passage_budget(&self, history: &[Turn]) -> usize {
        let whole = self.agent.model.info().context_tokens;
        let answer = (whole / ANSWER_SHARE).min(ANSWER_TOKENS);
        let said: usize = history.iter().map(|turn| estimate_tokens(&turn.text)).sum();
        let fixed = estimate_tokens(&self.agent.instructions)
            + further_tokens(&self.input)
            + estimate_tokens(&self.input.message);
        whole.saturating_sub(answer + said + fixed).min(self.agent.context_tokens)
    }

    async fn ask_model(
        &self,
        out: &Out,
        history: Vec<Turn>,
        passages: Vec<Passage>,
    ) -> Result<(String, Outcome)> {
        let request = self.request(history, passages.clone());
        let mut stream = self.agent.model.stream(request, &self.ctx).await?;
        let native = self.agent.model.info().capabilities.citations;
        let markers = (!native).then(MarkerReader::default);
        let mut answer = Answer { ctx: &self.ctx, out, passages, markers, text: String::new(), cited: 0 };
        while let Some(event) = stream.next().await {
            if let Some(reason) = answer.take(event?).await? {
                let outcome = answer.outcome(reason)?;
                return Ok((answer.text, outcome));
            }
        }
        Err(Error::internal("the model's stream ended without a finish reason"))
    }

    fn request(&self, history: Vec<Turn>, passages: Vec<Passage>) -> ChatRequest {
        let mut messages = vec![Message::system(self.agent.instructions.to_string())];
        messages.extend(further(&self.input).cloned());
        messages.extend(history.into_iter().map(|turn| Message::text(turn.role, turn.text)));
        let question = Part::Text { text: self.input.message.clone() };
        messages.push(Message { role: Role::User, parts: vec![Part::Passages { passages }, question] });
        ChatRequest::new(messages)
    }

    async fn remember(&self, answer: String) -> Result<()> {
        let (Some(memory), Some(key)) = (&self.agent.memory, self.session_key()) else { return Ok(()) };
        let turn = vec![Message::user(self.input.message.clone()), Message::assistant(answer)];
        self.ctx.run(memory.append(&key, turn, &self.ctx)).await
    }

    fn session_key(&self) -> Option<SessionKey> {
        let session = self.input.session.clone()?;
        Some(SessionKey::new(self.input.scope.clone(), session))
    }
}

/// Refuses further instructions that leave the passages no room.
pub(super) fn check_room(agent: &RagAgent, input: &AgentInput) -> Result<()> {
    let (tokens, most) = (further_tokens(input), agent.model.info().context_tokens / HISTORY_SHARE);
    if tokens <= most {
        return Ok(());
    }
    let message =
        format!("the system messages have about {tokens} tokens, at most {most} fit the model; shorten them");
    Err(Error::invalid_input(message))
}

/// What the application tells the model for this message alone.
fn further(input: &AgentInput) -> impl Iterator<Item = &Message> {
    input.history.iter().filter(|message| message.role == Role::System)
}

fn further_tokens(input: &AgentInput) -> usize {
    further(input).map(|message| estimate_tokens(&message.joined_text())).sum()
}

/// What came of the retrieval.
struct Found {
    /// What was searched for, in its fullest form.
    query: String,
    sources: Vec<Source>,
    /// Whether too little supports an answer.
    doubtful: bool,
}

/// What was said before.
struct Turn {
    role: Role,
    text: String,
}

/// An answer being made.
struct Answer<'r> {
    ctx: &'r RunContext,
    out: &'r Out,
    passages: Vec<Passage>,
    /// Reads `[n]`, if the model does not cite by itself.
    markers: Option<MarkerReader>,
    text: String,
    cited: usize,
}

impl Answer<'_> {
    /// Passes a model's event on; gives the reason if it was the last.
    async fn take(&mut self, event: ChatEvent) -> Result<Option<FinishReason>> {
        match event {
            ChatEvent::Delta { text } => self.delta(text).await?,
            ChatEvent::Citation(cited) if self.markers.is_none() => {
                self.cite(cited.number, cited.span).await?;
            }
            ChatEvent::Usage(usage) => {
                self.out.emit(AgentEventKind::Usage(usage)).await?;
                self.ctx.spend_tokens(usage.total())?;
            }
            ChatEvent::Finished { reason } => return Ok(Some(reason)),
            // No tool was offered, and events of a later version have no meaning here.
            _ => {}
        }
        Ok(None)
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

    async fn cite(&mut self, number: usize, span: agentkit_core::Span) -> Result<()> {
        let Some(citation) = citation(number, span, &self.passages) else {
            tracing::warn!(number, ?span, "dropped a citation that quotes no passage");
            return Ok(());
        };
        self.cited += 1;
        self.out.emit(AgentEventKind::Citation(citation)).await
    }

    fn outcome(&self, reason: FinishReason) -> Result<Outcome> {
        match reason {
            FinishReason::Refused => Ok(Outcome::Refused),
            FinishReason::Stop if self.cited == 0 && self.text.trim().starts_with(REFUSAL) => {
                Ok(Outcome::Refused)
            }
            FinishReason::Stop => Ok(Outcome::Answered),
            FinishReason::Length => Ok(Outcome::Truncated),
            FinishReason::ContentFilter => Err(Error::new(
                ErrorKind::Unsupported,
                "the model's provider withheld the answer; rephrase the question or use another model",
            )),
            other => Err(Error::internal(format!("the model stopped for {other:?}, which was not offered"))),
        }
    }
}
