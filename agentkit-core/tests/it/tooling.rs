//! Tools, models and helpers for tests of the agent that uses tools.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentEvent, AgentEventKind, AgentInput, AgentStream, ChatEvent, ErrorKind, FinishReason,
    FunctionTool, Message, Part, RunContext, TenantScope, Tool, ToolAgent, ToolCall, ToolResult, Usage,
    validate_history,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct Named {
    /// What is meant.
    pub(crate) name: String,
    /// How long to take, in milliseconds.
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    pub(crate) ms: u64,
}

/// What tools have done.
#[derive(Debug, Default)]
pub(crate) struct Log {
    calls: Mutex<Vec<(String, String)>>,
    pub(crate) open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
}

impl Log {
    /// The calls in the order they began, as name and key.
    pub(crate) fn calls(&self) -> Vec<(String, String)> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.calls().into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn begin(self: &Arc<Self>, name: &str, ctx: &RunContext) -> Open {
        let key = ctx.idempotency_key().unwrap_or("none").to_owned();
        self.calls.lock().unwrap().push((name.to_owned(), key));
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        Open(Arc::clone(self))
    }
}

/// A call that has begun and not ended.
pub(crate) struct Open(Arc<Log>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A tool that greets, after as long as it is told to take.
pub(crate) fn greet(log: &Arc<Log>) -> FunctionTool {
    let log = Arc::clone(log);
    FunctionTool::new("greet", "Greets somebody.", move |who: Named, ctx| {
        let log = Arc::clone(&log);
        async move {
            let _open = log.begin(&who.name, &ctx);
            if who.ms > 0 {
                tokio::time::sleep(Duration::from_millis(who.ms)).await;
            }
            Ok(format!("hello {}", who.name))
        }
    })
}

pub(crate) fn call(id: &str, name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments }
}

/// A turn that asks for these tools.
pub(crate) fn asks(calls: impl IntoIterator<Item = ToolCall>) -> ScriptedTurn {
    let usage = ChatEvent::Usage(Usage { input_tokens: 1, output_tokens: 1 });
    let end = ChatEvent::Finished { reason: FinishReason::ToolCalls };
    ScriptedTurn::events(calls.into_iter().map(ChatEvent::ToolCall).chain([usage, end]))
}

/// A turn that greets these people.
pub(crate) fn greets(names: &[&str]) -> ScriptedTurn {
    asks(names.iter().map(|name| call(name, "greet", json!({ "name": name }))))
}

pub(crate) fn model(turns: impl IntoIterator<Item = ScriptedTurn>) -> Arc<ScriptedModel> {
    Arc::new(ScriptedModel::new(turns))
}

pub(crate) fn agent(model: &Arc<ScriptedModel>, tools: impl IntoIterator<Item = FunctionTool>) -> ToolAgent {
    let tools = tools.into_iter().map(|tool| Arc::new(tool) as Arc<dyn Tool>);
    ToolAgent::builder(model.clone()).tools(tools).build().unwrap()
}

pub(crate) fn input() -> AgentInput {
    AgentInput::new(TenantScope::local(), "greet everybody")
}

pub(crate) async fn events_of(mut stream: AgentStream) -> Vec<AgentEventKind> {
    let mut events: Vec<AgentEvent> = Vec::new();
    while let Some(event) = stream.next().await {
        assert_eq!(event.seq, events.len() as u64);
        events.push(event);
    }
    events.into_iter().map(|event| event.kind).collect()
}

pub(crate) async fn events(agent: &ToolAgent, ctx: &RunContext) -> Vec<AgentEventKind> {
    events_of(agent.run(input(), ctx).await.unwrap()).await
}

/// The names of events, as their JSON has them.
pub(crate) fn names(events: &[AgentEventKind]) -> Vec<String> {
    let name = |event| serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned();
    events.iter().map(name).collect()
}

pub(crate) fn results(events: &[AgentEventKind]) -> Vec<ToolResult> {
    let result = |event: &AgentEventKind| match event {
        AgentEventKind::ToolReturned(result) => Some(result.clone()),
        _ => None,
    };
    events.iter().filter_map(result).collect()
}

pub(crate) fn contents(events: &[AgentEventKind]) -> Vec<String> {
    results(events).into_iter().map(|result| result.content).collect()
}

/// The error a run ended with.
pub(crate) fn failure(events: &[AgentEventKind]) -> (ErrorKind, String) {
    match events.last() {
        Some(AgentEventKind::Error { kind, message }) => (*kind, message.clone()),
        other => panic!("the run ended with {other:?}"),
    }
}

/// Every run starts once, ends once, tells its usage before its end, and answers every call once.
pub(crate) fn well_formed(events: &[AgentEventKind]) {
    let names = names(events);
    let count = |name: &str| names.iter().filter(|found| *found == name).count();
    assert_eq!((names[0].as_str(), count("started")), ("started", 1), "{names:?}");
    assert_eq!(count("done") + count("error"), 1, "{names:?}");
    assert!(["done", "error"].contains(&names[names.len() - 1].as_str()), "{names:?}");
    assert_eq!((names[names.len() - 2].as_str(), count("usage")), ("usage", 1), "{names:?}");
    let called = events.iter().filter_map(|event| match event {
        AgentEventKind::ToolCalled(call) => Some(call.id.clone()),
        _ => None,
    });
    let called: Vec<String> = called.collect();
    let returned: Vec<String> = results(events).into_iter().map(|result| result.call_id).collect();
    if count("deferred") == 0 {
        assert_eq!(called, returned, "results come in the order of the calls: {events:?}");
    }
}

/// The requests a model was sent were all valid, and all its calls in them were answered.
pub(crate) fn valid_requests(model: &ScriptedModel) {
    for request in model.requests() {
        validate_history(&request.messages).unwrap();
    }
}

/// The results in the last request.
pub(crate) fn told(model: &ScriptedModel) -> Vec<String> {
    let requests = model.requests();
    let parts = requests.last().unwrap().messages.iter().flat_map(|message: &Message| message.parts.clone());
    let content = |part| if let Part::ToolResult(result) = part { Some(result.content) } else { None };
    parts.filter_map(content).collect()
}
