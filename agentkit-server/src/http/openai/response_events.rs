//! Makes a response, and the events of one, out of the events of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agentkit_core::{AgentEventKind, Citation, Message, Outcome, Part, Role, SessionId, ToolCall, Usage};
use axum::response::sse::Event;
use serde_json::{Value, json};

use super::chat::Head;
use super::error::failed;
use super::tools::{self, Tools};
use crate::http::problem::Problem;
use crate::personal::RESPONSE_PREFIX;

/// One server-sent event of a response.
#[derive(Debug)]
pub(super) enum Frame {
    /// An event with its type.
    Event(&'static str, Value),
    /// The end.
    Done,
}

impl Frame {
    pub(super) fn into_event(self) -> Result<Event, axum::Error> {
        match self {
            Self::Event(name, data) => Event::default().event(name).json_data(data),
            Self::Done => Ok(Event::default().data("[DONE]")),
        }
    }
}

/// What was asked for, as far as a response repeats it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) instructions: Option<String>,
    pub(super) conversation: Option<SessionId>,
    pub(super) previous: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// Whether the response is kept.
    pub(super) store: bool,
    pub(super) tools: Tools,
}

/// A response being made.
#[derive(Debug)]
pub(super) struct Answer {
    head: Head,
    asked: Asked,
    text: String,
    annotations: Vec<Value>,
    /// The place of the text among the items of the output, once there is one.
    text_at: Option<usize>,
    calls: Vec<ToolCall>,
    usage: Usage,
    /// When it was over, in seconds since 1970.
    completed: Option<u64>,
    next: u64,
}

impl Answer {
    /// A response whose id is made of that of `head`.
    pub(super) fn new(head: Head, asked: Asked) -> Self {
        let (text, annotations, calls, usage) = (String::new(), Vec::new(), Vec::new(), Usage::default());
        Self { head, asked, text, annotations, text_at: None, calls, usage, completed: None, next: 0 }
    }

    /// The response's id.
    pub(super) fn id(&self) -> String {
        format!("{RESPONSE_PREFIX}{}", self.head.id)
    }

    /// The answer as a message; `None` if it says and calls nothing.
    pub(super) fn message(&self) -> Option<Message> {
        let text = (!self.text.is_empty()).then(|| Part::Text { text: self.text.clone() });
        let calls = self.calls.iter().cloned().map(Part::ToolCall);
        let parts: Vec<Part> = text.into_iter().chain(calls).collect();
        (!parts.is_empty()).then_some(Message { role: Role::Assistant, parts })
    }

    /// Says when the answer was over.
    pub(super) fn completes(&mut self, at: u64) {
        self.completed = Some(at);
    }

    /// Whether the response is kept.
    pub(super) fn is_stored(&self) -> bool {
        self.asked.store
    }

    /// Says that the response is not kept after all.
    pub(super) fn is_not_stored(&mut self) {
        self.asked.store = false;
    }

    /// Adds what an event says.
    pub(super) fn take(&mut self, event: AgentEventKind) {
        match event {
            AgentEventKind::Delta { text } => {
                self.text_at.get_or_insert(self.calls.len());
                self.text += &text;
            }
            AgentEventKind::Citation(citation) => self.annotate(&citation),
            AgentEventKind::ToolCalled(call) if self.hands_on() => self.calls.push(call),
            AgentEventKind::Usage(usage) => self.usage = usage,
            _ => {}
        }
    }

    /// The whole response; `None` if it has no form for this end.
    pub(super) fn ended(&self, outcome: Outcome) -> Option<Value> {
        let status = match outcome {
            Outcome::Answered | Outcome::Refused => "completed",
            Outcome::Waiting if !self.calls.is_empty() => "completed",
            Outcome::Truncated => "incomplete",
            _ => return None,
        };
        Some(self.response(status, None))
    }

    /// What the client is sent for an event.
    pub(super) fn frames(&mut self, event: AgentEventKind) -> Vec<Frame> {
        match event {
            AgentEventKind::Started { .. } => self.begin(),
            AgentEventKind::Delta { text } => {
                let mut frames = self.begin_text();
                self.text += &text;
                let delta = self.placed(json!({"content_index": 0, "delta": text, "logprobs": []}));
                frames.push(self.frame("response.output_text.delta", delta));
                frames
            }
            AgentEventKind::ToolCalled(call) if self.hands_on() => self.call(call),
            AgentEventKind::Citation(citation) => {
                let index = self.annotations.len();
                self.annotate(&citation);
                let added = json!({"content_index": 0, "annotation_index": index, "annotation": self.annotations.last()});
                let added = self.placed(added);
                vec![self.frame("response.output_text.annotation.added", added)]
            }
            AgentEventKind::Usage(usage) => {
                self.usage = usage;
                Vec::new()
            }
            AgentEventKind::Error { kind, message } => self.fail(&failed(kind, &message)),
            _ => Vec::new(),
        }
    }

    fn begin(&mut self) -> Vec<Frame> {
        let response = json!({"response": self.response("in_progress", None)});
        vec![self.frame("response.created", response.clone()), self.frame("response.in_progress", response)]
    }

    /// Opens the item of the text, if it is not open yet.
    fn begin_text(&mut self) -> Vec<Frame> {
        if self.text_at.is_some() {
            return Vec::new();
        }
        let at = *self.text_at.insert(self.calls.len());
        let item = json!({"output_index": at, "item": self.item("in_progress", &[])});
        let part = self.placed(json!({"content_index": 0, "part": self.part()}));
        vec![self.frame("response.output_item.added", item), self.frame("response.content_part.added", part)]
    }

    /// Tells a call of one of the client's tools.
    fn call(&mut self, call: ToolCall) -> Vec<Frame> {
        let (at, id) =
            (self.calls.len() + usize::from(self.text_at.is_some()), self.call_id(self.calls.len()));
        let arguments = tools::arguments(&call);
        let begun = called(&id, &call, "in_progress", "");
        let done = called(&id, &call, "completed", &arguments);
        self.calls.push(call);
        let placed = |member: &str, value: Value| json!({"output_index": at, member: value});
        let piece = |member: &str| json!({"item_id": id, "output_index": at, member: arguments});
        vec![
            self.frame("response.output_item.added", placed("item", begun)),
            self.frame("response.function_call_arguments.delta", piece("delta")),
            self.frame("response.function_call_arguments.done", piece("arguments")),
            self.frame("response.output_item.done", placed("item", done)),
        ]
    }

    /// Whether the tools that are called are the client's.
    fn hands_on(&self) -> bool {
        self.asked.tools.offer.is_open()
    }

    fn call_id(&self, at: usize) -> String {
        format!("fc_{}_{at}", self.head.id)
    }

    /// What the client is sent at the end, with the whole `response`.
    #[expect(clippy::needless_pass_by_value, reason = "it becomes part of the last frame")]
    pub(super) fn end(&mut self, outcome: Outcome, response: Value) -> Vec<Frame> {
        let (status, last) = match outcome {
            Outcome::Truncated => ("incomplete", "response.incomplete"),
            _ => ("completed", "response.completed"),
        };
        let mut frames = if self.calls.is_empty() { self.begin_text() } else { Vec::new() };
        frames.extend(self.end_text(status));
        frames.push(self.frame(last, json!({ "response": response })));
        frames.push(Frame::Done);
        frames
    }

    /// Closes the item of the text, if there is one.
    fn end_text(&mut self, status: &str) -> Vec<Frame> {
        let Some(at) = self.text_at else { return Vec::new() };
        let text = self.placed(json!({"content_index": 0, "text": self.text, "logprobs": []}));
        let part = self.placed(json!({"content_index": 0, "part": self.part()}));
        let item = json!({"output_index": at, "item": self.item(status, &[self.part()])});
        vec![
            self.frame("response.output_text.done", text),
            self.frame("response.content_part.done", part),
            self.frame("response.output_item.done", item),
        ]
    }

    /// What the client is sent when the run failed.
    pub(super) fn fail(&mut self, problem: &Problem) -> Vec<Frame> {
        let code = if problem.kind().status().is_server_error() {
            "server_error".to_owned()
        } else {
            problem.kind().name().replace('-', "_")
        };
        let error = json!({"code": code, "message": problem.detail()});
        let failed = json!({"response": self.response("failed", Some(&error))});
        vec![self.frame("response.failed", failed), Frame::Done]
    }

    /// Numbers an event.
    fn frame(&mut self, name: &'static str, mut data: Value) -> Frame {
        if let Some(members) = data.as_object_mut() {
            members.insert("type".into(), name.into());
            members.insert("sequence_number".into(), self.next.into());
        }
        self.next += 1;
        Frame::Event(name, data)
    }

    /// Says which item an event is about.
    fn placed(&self, mut data: Value) -> Value {
        if let Some(members) = data.as_object_mut() {
            members.insert("item_id".into(), self.item_id().into());
            members.insert("output_index".into(), self.text_at.unwrap_or_default().into());
        }
        data
    }

    fn annotate(&mut self, citation: &Citation) {
        let id = citation.document_id.as_str();
        let end = self.text.chars().count();
        let mark = format!("[{}]", citation.number);
        let begins = if self.text.ends_with(&mark) { end - mark.len() } else { end };
        self.annotations.push(json!({
            "type": "url_citation",
            "url": format!("/documents/{}", encoded(id)),
            "title": citation.title.as_deref().unwrap_or(id),
            "start_index": begins,
            "end_index": end,
            "citation": citation,
        }));
    }

    fn item_id(&self) -> String {
        format!("msg_{}", self.head.id)
    }

    fn part(&self) -> Value {
        json!({"type": "output_text", "text": self.text, "annotations": self.annotations, "logprobs": []})
    }

    fn item(&self, status: &str, content: &[Value]) -> Value {
        json!({
            "id": self.item_id(), "type": "message", "role": "assistant", "status": status, "content": content,
        })
    }

    fn response(&self, status: &str, error: Option<&Value>) -> Value {
        let over = status == "completed" || status == "incomplete";
        let output = if over { self.output(status) } else { Vec::new() };
        let cut = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        json!({
            "id": self.id(),
            "object": "response",
            "created_at": self.head.created,
            "completed_at": self.completed,
            "status": status,
            "error": error,
            "incomplete_details": cut,
            "instructions": self.asked.instructions,
            "conversation": self.asked.conversation.as_ref().map(|id| json!({"id": id})),
            "previous_response_id": self.asked.previous,
            "model": self.head.model,
            "output": output,
            "usage": over.then(|| self.usage()),
            "tools": self.asked.tools.listed(),
            "tool_choice": self.asked.tools.choice(),
            "parallel_tool_calls": self.asked.tools.parallel(),
            "text": {"format": {"type": "text"}},
            "truncation": "auto",
            "temperature": 1,
            "top_p": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
            "max_tool_calls": null,
            "service_tier": "default",
            "safety_identifier": null,
            "prompt_cache_key": null,
            "reasoning": null,
            "max_output_tokens": null,
            "metadata": self.asked.metadata,
            "background": false,
            "store": self.asked.store,
        })
    }

    /// The items in order.
    fn output(&self, status: &str) -> Vec<Value> {
        let call = |(at, call)| called(&self.call_id(at), call, "completed", &tools::arguments(call));
        let mut items: Vec<Value> = self.calls.iter().enumerate().map(call).collect();
        if let Some(at) = self.text_at.or(self.calls.is_empty().then_some(0)) {
            items.insert(at.min(items.len()), self.item(status, &[self.part()]));
        }
        items
    }

    fn usage(&self) -> Value {
        json!({
            "input_tokens": self.usage.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.usage.total(),
        })
    }
}

/// A call as an item of a response.
fn called(id: &str, call: &ToolCall, status: &str, arguments: &str) -> Value {
    json!({
        "type": "function_call", "id": id, "call_id": call.id, "name": call.name, "arguments": arguments, "status": status,
    })
}

/// An id as it stands in a path.
fn encoded(id: &str) -> String {
    let mut path = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}
