//! The suite of the [`Agent`] contract.

use std::sync::Arc;

use super::{is_invalid, soon, stopped_contexts, succeeds};
use crate::agent::{
    Agent, AgentEvent, AgentEventKind, AgentInput, AgentStream, Citation, MAX_MESSAGE_BYTES, Outcome, Source,
};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::memory::{Memory, SessionKey};
use crate::message::Message;
use crate::retrieve::{Filter, Range};
use crate::scope::TenantScope;
use crate::tool::{ToolOffer, ToolSpec};

/// An agent and what the suite needs to question it.
#[non_exhaustive]
pub struct AgentFixture {
    agent: Arc<dyn Agent>,
    scope: TenantScope,
    questions: Vec<String>,
    memory: Option<Arc<dyn Memory>>,
}

impl AgentFixture {
    /// Asks `agent` for the sake of `scope`; nothing needs to be known there.
    #[must_use]
    pub fn new(agent: Arc<dyn Agent>, scope: TenantScope) -> Self {
        let questions = ["hello", "field:( \"AND OR NOT\" * ~", "How do I reset the router?"];
        Self { agent, scope, questions: questions.map(String::from).to_vec(), memory: None }
    }

    /// Asks this as well; best something the agent answers with citations.
    #[must_use]
    pub fn question(mut self, question: impl Into<String>) -> Self {
        self.questions.push(question.into());
        self
    }

    /// The memory the agent remembers its turns in, to look whether it does.
    #[must_use]
    pub fn memory(mut self, memory: Arc<dyn Memory>) -> Self {
        self.memory = Some(memory);
        self
    }

    fn ask(&self, question: &str) -> AgentInput {
        AgentInput::new(self.scope.clone(), question)
    }
}

impl std::fmt::Debug for AgentFixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentFixture").field("questions", &self.questions).finish_non_exhaustive()
    }
}

/// Holds the fixture's agent to its contract.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Dropping the future stops the run; turns it has finished stay remembered.
pub async fn agent(fixture: &AgentFixture) {
    for question in &fixture.questions {
        let ctx = RunContext::new();
        let events = run(fixture, fixture.ask(question), &ctx).await;
        events_are_numbered_and_end_once(&events);
        the_run_names_its_trace(&events, &ctx);
        calls_of_tools_are_answered(&events);
        citations_quote_the_sources(&events);
    }
    tools_of_the_caller_are_handed_on_or_refused(fixture).await;
    bad_requests_are_refused_at_once(fixture).await;
    stopped_contexts_stop_it(fixture).await;
    turns_are_remembered_before_the_end(fixture).await;
    a_dropped_run_does_no_harm(fixture).await;
}

fn events_are_numbered_and_end_once(events: &[AgentEvent]) {
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.seq, at as u64, "event {at} of a run has number {}", event.seq);
    }
    let first = events.first().map(|event| &event.kind);
    assert!(matches!(first, Some(AgentEventKind::Started { .. })), "a run begins with {first:?}");
    let starts = events.iter().filter(|event| matches!(event.kind, AgentEventKind::Started { .. })).count();
    assert_eq!(starts, 1, "a run starts {starts} times");
    let ends = events.iter().filter(|event| is_end(event)).count();
    assert_eq!(ends, 1, "a run must end once, not {ends} times");
    assert!(events.last().is_some_and(is_end), "something follows the end of a run");
}

fn is_end(event: &AgentEvent) -> bool {
    matches!(event.kind, AgentEventKind::Done { .. } | AgentEventKind::Error { .. })
}

fn the_run_names_its_trace(events: &[AgentEvent], ctx: &RunContext) {
    let expected = ctx.trace().trace_id();
    let named = events.iter().any(
        |event| matches!(&event.kind, AgentEventKind::Started { trace_id, .. } if *trace_id == expected),
    );
    assert!(named, "a run does not name the trace of its context");
}

/// Each call has one result, behind it, before a run is done that does not wait for somebody outside.
fn calls_of_tools_are_answered(events: &[AgentEvent]) {
    let mut open: Vec<&str> = Vec::new();
    for event in events {
        match &event.kind {
            AgentEventKind::ToolCalled(call) => {
                assert!(!open.contains(&call.id.as_str()), "two calls under way have the id {:?}", call.id);
                open.push(&call.id);
            }
            AgentEventKind::ToolReturned(result) => {
                let call = open.iter().position(|id| *id == result.call_id);
                let Some(at) = call else { panic!("a result answers no call: {:?}", result.call_id) };
                open.remove(at);
            }
            AgentEventKind::Done { outcome } if *outcome != Outcome::Waiting => {
                assert!(open.is_empty(), "a run is done, but the calls {open:?} have no result");
            }
            _ => {}
        }
    }
}

fn citations_quote_the_sources(events: &[AgentEvent]) {
    let mut sources: Vec<Source> = Vec::new();
    for event in events {
        match &event.kind {
            AgentEventKind::Retrieved { sources: found, .. } => {
                sources.extend(found.iter().cloned());
                let numbers: Vec<_> = sources.iter().map(|source| source.number).collect();
                let expected: Vec<_> = (1..=sources.len()).collect();
                assert_eq!(numbers, expected, "sources are not numbered from 1");
            }
            AgentEventKind::Citation(citation) => quotes(citation, &sources),
            _ => {}
        }
    }
}

fn quotes(citation: &Citation, sources: &[Source]) {
    let number = citation.number;
    let source = sources.iter().find(|source| source.number == number);
    let passage = source.map(|source| &source.passage);
    let same = passage.is_some_and(|passage| {
        (&passage.chunk_id, &passage.document_id) == (&citation.chunk_id, &citation.document_id)
    });
    assert!(same, "citation {number} names no source of the run or another chunk than its source");
    let quote = passage.and_then(|passage| {
        let (start, end) = (citation.span.start, citation.span.end);
        let offset = passage.span.start;
        passage.text.get(start.checked_sub(offset)?..end.checked_sub(offset)?)
    });
    let quoted = quote == Some(citation.quote.as_str()) && !citation.quote.is_empty();
    assert!(quoted, "citation {number} quotes {:?} but its span holds {quote:?}", citation.quote);
}

async fn tools_of_the_caller_are_handed_on_or_refused(fixture: &AgentFixture) {
    let what = "a run with tools of the caller";
    let input = fixture.ask("hello").tools(ToolOffer::new(vec![tool()]));
    match soon(what, fixture.agent.run(input, &RunContext::new())).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{what} fails with {error:?}"),
        Ok(stream) => {
            let events = gathered(stream).await;
            events_are_numbered_and_end_once(&events);
            calls_of_tools_are_answered(&events);
        }
    }
}

fn tool() -> ToolSpec {
    let parameters = serde_json::json!({"type": "object"});
    ToolSpec { name: "look".into(), description: "Looks.".into(), parameters }
}

async fn bad_requests_are_refused_at_once(fixture: &AgentFixture) {
    let empty_range = Filter::Range(Range { field: "year".into(), ..Range::default() });
    for (what, input) in [
        ("an empty message", fixture.ask("")),
        ("a blank message", fixture.ask(" \n\t")),
        ("a message that is too long", fixture.ask(&"x".repeat(MAX_MESSAGE_BYTES + 1))),
        ("a malformed filter", fixture.ask("hello").filter(empty_range)),
        ("two tools of one name", fixture.ask("hello").tools(ToolOffer::new(vec![tool(), tool()]))),
        ("an answer behind the message", fixture.ask("hello").since(vec![Message::assistant("hi")])),
    ] {
        is_invalid(what, soon(what, fixture.agent.run(input, &RunContext::new())).await);
    }
}

async fn stopped_contexts_stop_it(fixture: &AgentFixture) {
    for (why, ctx) in stopped_contexts() {
        let what = format!("a run under {why}");
        let input = session(fixture, "conformance stopped");
        let reply = async { fixture.agent.run(input, &ctx).await?.collect().await };
        super::is_stopped(&what, soon(&what, reply).await);
    }
    if let Some(memory) = &fixture.memory {
        let kept = remembered(fixture, memory.as_ref(), "conformance stopped").await;
        assert_eq!(kept, 0, "a run that ended in an error left {kept} messages in memory");
    }
}

async fn turns_are_remembered_before_the_end(fixture: &AgentFixture) {
    let Some(memory) = &fixture.memory else { return };
    let name = "conformance remembered";
    let mut stream = start(fixture, session(fixture, name), &RunContext::new()).await;
    while let Some(event) = soon("the next event of a run", stream.next()).await {
        match event.kind {
            AgentEventKind::Started { session_id, .. } => {
                assert_eq!(session_id, session(fixture, name).session, "a run does not name its session");
            }
            AgentEventKind::Done { .. } => {
                let kept = remembered(fixture, memory.as_ref(), name).await;
                assert!(kept >= 2, "a run was done with {kept} messages in memory, not question and answer");
            }
            _ => {}
        }
    }
}

async fn a_dropped_run_does_no_harm(fixture: &AgentFixture) {
    let mut left = start(fixture, fixture.ask("hello"), &RunContext::new()).await;
    soon("the first event of a run", left.next()).await;
    drop(left);
    let ctx = RunContext::new();
    let mut stream = start(fixture, fixture.ask("hello"), &ctx).await;
    soon("the first event of a run", stream.next()).await;
    ctx.cancel();
    while let Some(event) = soon("a cancelled run", stream.next()).await {
        let AgentEventKind::Error { kind, message } = event.kind else { continue };
        let stopped = Error::new(kind, message);
        assert!(stopped.is_stopped(), "a cancelled run failed with {stopped:?}");
    }
    events_are_numbered_and_end_once(&run(fixture, fixture.ask("hello"), &RunContext::new()).await);
}

fn session(fixture: &AgentFixture, name: &str) -> AgentInput {
    fixture.ask("hello").session(succeeds("making a session id", SessionId::new(name)))
}

async fn remembered(fixture: &AgentFixture, memory: &dyn Memory, name: &str) -> usize {
    let session: Result<_> = SessionId::new(name);
    let key = SessionKey::new(fixture.scope.clone(), succeeds("making a session id", session));
    succeeds("recall", memory.recall(&key, 10, &RunContext::new()).await).len()
}

async fn start(fixture: &AgentFixture, input: AgentInput, ctx: &RunContext) -> AgentStream {
    succeeds("starting a run", soon("starting a run", fixture.agent.run(input, ctx)).await)
}

async fn run(fixture: &AgentFixture, input: AgentInput, ctx: &RunContext) -> Vec<AgentEvent> {
    gathered(start(fixture, input, ctx).await).await
}

async fn gathered(mut stream: AgentStream) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    while let Some(event) = soon("the next event of a run", stream.next()).await {
        events.push(event);
    }
    events
}
