//! One run of the agent: its steps in order.

use agentkit_core::{
    AgentEventKind, AgentInput, CallIds, ChatRequest, Conversation, Emitter, Error, ErrorKind, Message,
    Outcome, Part, Passage, Result, Role, RunContext, SearchRequest, SearchResponse, SessionKey, Source,
    ToolSpec,
};

use super::REFUSAL;
use super::agent::RagAgent;
use super::cite::{citation, support};
use super::pack::{estimate_tokens, message_tokens, pack};
use super::reply::Answer;
use super::turn::{Turn, turns, unmarked};

/// Most messages recalled of a session.
const RECALLED: usize = 20;
/// Share of the model's context that the history may take: one in so many.
const HISTORY_SHARE: usize = 4;
/// Share of the model's context that the caller's tools, their calls and results may take: one in so many.
const TOOLS_SHARE: usize = 2;
/// Share of the model's context that is kept for its answer, and the most that is.
const ANSWER_SHARE: usize = 4;
const ANSWER_TOKENS: usize = 2_048;
/// Passages named when the question is not answered, and the words before them.
const NAMED: usize = 5;
const NEAREST: &str = "The nearest passages:";
/// What a model is told besides where it may call tools of the caller.
const TOOL_INSTRUCTIONS: &str =
    "You may also call the tools you are given, where the passages do not answer or something is to be done.";
/// What it is told where there may be results of them.
const RESULT_INSTRUCTIONS: &str =
    "What a tool returned may be used in the answer like a passage, but without a number.";

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
        if outcome != Outcome::Waiting {
            self.remember(text).await?;
        }
        out.emit(AgentEventKind::Done { outcome }).await
    }

    async fn answer(&self, out: &Out) -> Result<(String, Outcome)> {
        let trace_id = self.ctx.trace().trace_id();
        out.emit(AgentEventKind::Started { trace_id, session_id: self.input.session.clone() }).await?;
        let history = self.history().await?;
        let Found { query, sources, doubtful } = self.retrieve(&history).await?;
        let passages: Vec<Passage> = sources.iter().map(|source| source.passage.clone()).collect();
        out.emit(AgentEventKind::Retrieved { query, sources }).await?;
        if self.uses_tools() {
            return self.ask_model(out, history, passages).await;
        }
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
        let share = self.agent.model.info().context_tokens / HISTORY_SHARE;
        // Half of what is left is for the passages.
        let budget = share.min(self.room() / 2);
        Ok(turns(self.said().await?, RECALLED, budget, self.uses_tools()))
    }

    /// Whether the caller's tools may be called, or were.
    fn uses_tools(&self) -> bool {
        uses_tools(&self.input)
    }

    async fn retrieve(&self, history: &[Turn]) -> Result<Found> {
        // A refusal says nothing that a question could lean on.
        let leans = |turn: &&Turn| !turn.text.is_empty() && !turn.text.starts_with(REFUSAL);
        let said = history.iter().filter(leans);
        let said = said.map(|turn| Message::text(turn.role(), turn.text.as_str())).collect();
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
        let said: usize = history.iter().map(Turn::tokens).sum();
        self.room().saturating_sub(said).min(self.agent.context_tokens)
    }

    /// Tokens that history and passages may have together.
    fn room(&self) -> usize {
        let whole = self.agent.model.info().context_tokens;
        let answer = (whole / ANSWER_SHARE).min(ANSWER_TOKENS);
        let fixed = estimate_tokens(&self.agent.instructions)
            + further_tokens(&self.input)
            + tool_tokens(&self.input)
            + estimate_tokens(&self.input.message);
        whole.saturating_sub(answer + fixed)
    }

    async fn ask_model(
        &self,
        out: &Out,
        history: Vec<Turn>,
        passages: Vec<Passage>,
    ) -> Result<(String, Outcome)> {
        let request = self.request(history, passages.clone());
        let native = self.agent.model.info().capabilities.citations;
        let mut answer = Answer::new(&self.ctx, out, passages, native);
        if self.input.tools.is_open() {
            // Of all that the caller keeps, although the model may be given less.
            let kept = [self.input.history.as_slice(), &self.input.since].concat();
            answer = answer.calls(CallIds::of(&kept));
        }
        let mut stream = self.agent.model.stream(request, &self.ctx).await?;
        while let Some(event) = stream.next().await {
            if let Some(end) = answer.take(event?).await? {
                return Ok(end);
            }
        }
        Err(Error::internal("the model's stream ended without a finish reason"))
    }

    fn request(&self, history: Vec<Turn>, passages: Vec<Passage>) -> ChatRequest {
        let mut messages = vec![Message::system(self.agent.instructions.to_string())];
        messages.extend(self.input.tools.is_open().then(|| Message::system(TOOL_INSTRUCTIONS)));
        messages.extend(self.uses_tools().then(|| Message::system(RESULT_INSTRUCTIONS)));
        messages.extend(further(&self.input).cloned());
        messages.extend(history.into_iter().map(|turn| turn.message));
        let found = (!passages.is_empty()).then_some(Part::Passages { passages });
        let question = Part::Text { text: self.input.message.clone() };
        messages.push(Message { role: Role::User, parts: found.into_iter().chain([question]).collect() });
        messages.extend(self.input.since.iter().cloned().map(unmarked));
        let mut request = ChatRequest::new(messages);
        if self.uses_tools() {
            request.tools.clone_from(&self.input.tools.tools);
            request.tool_choice = self.input.tools.choice.clone();
            request.parallel_tool_calls = self.input.tools.parallel;
        }
        request
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

/// Refuses what the model cannot do, and what leaves the passages no room.
pub(super) fn check(agent: &RagAgent, input: &AgentInput) -> Result<()> {
    let model = agent.model.info();
    if uses_tools(input) && !model.capabilities.tools {
        let message = format!("the chat model {:?} cannot call tools; leave them out", model.name);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let whole = model.context_tokens;
    fits("system messages", further_tokens(input), whole / HISTORY_SHARE)?;
    fits("tools, their calls and results", tool_tokens(input), whole / TOOLS_SHARE)
}

fn fits(what: &str, tokens: usize, most: usize) -> Result<()> {
    if tokens <= most {
        return Ok(());
    }
    let message =
        format!("the {what} have about {tokens} tokens, at most {most} fit the model; shorten them");
    Err(Error::invalid_input(message))
}

/// Whether the caller's tools may be called, or were.
fn uses_tools(input: &AgentInput) -> bool {
    input.tools.is_open() || !input.since.is_empty()
}

/// Tokens of the caller's tools, of their calls and of the results.
fn tool_tokens(input: &AgentInput) -> usize {
    if !uses_tools(input) {
        return 0;
    }
    let tool = |tool: &ToolSpec| {
        let parameters = estimate_tokens(&tool.parameters.to_string());
        estimate_tokens(&tool.name) + estimate_tokens(&tool.description) + parameters
    };
    let tools: usize = input.tools.tools.iter().map(tool).sum();
    tools + input.since.iter().map(message_tokens).sum::<usize>()
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
