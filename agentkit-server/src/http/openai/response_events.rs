//! Makes a response, and the events of one, out of the events of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agentkit_core::{AgentEventKind, Citation, Outcome, SessionId, Usage};
use axum::response::sse::Event;
use serde_json::{Value, json};

use super::chat::Head;
use super::error::failed;
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
}

/// A response being made.
#[derive(Debug)]
pub(super) struct Answer {
    head: Head,
    asked: Asked,
    text: String,
    annotations: Vec<Value>,
    usage: Usage,
    /// When it was over, in seconds since 1970.
    completed: Option<u64>,
    next: u64,
}

impl Answer {
    /// A response whose id is made of that of `head`.
    pub(super) fn new(head: Head, asked: Asked) -> Self {
        let (text, annotations, usage) = (String::new(), Vec::new(), Usage::default());
        Self { head, asked, text, annotations, usage, completed: None, next: 0 }
    }

    /// The response's id.
    pub(super) fn id(&self) -> String {
        format!("{RESPONSE_PREFIX}{}", self.head.id)
    }

    /// What was answered so far.
    pub(super) fn text(&self) -> &str {
        &self.text
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
            AgentEventKind::Delta { text } => self.text += &text,
            AgentEventKind::Citation(citation) => self.annotate(&citation),
            AgentEventKind::Usage(usage) => self.usage = usage,
            _ => {}
        }
    }

    /// The whole response; `None` if it has no form for this end.
    pub(super) fn ended(&self, outcome: Outcome) -> Option<Value> {
        let status = match outcome {
            Outcome::Answered | Outcome::Refused => "completed",
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
                self.text += &text;
                let delta = self.placed(json!({"content_index": 0, "delta": text, "logprobs": []}));
                vec![self.frame("response.output_text.delta", delta)]
            }
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
        let item = json!({"output_index": 0, "item": self.item("in_progress", &[])});
        let part = self.placed(json!({"content_index": 0, "part": self.part()}));
        vec![
            self.frame("response.created", response.clone()),
            self.frame("response.in_progress", response),
            self.frame("response.output_item.added", item),
            self.frame("response.content_part.added", part),
        ]
    }

    /// What the client is sent at the end, with the whole `response`.
    #[expect(clippy::needless_pass_by_value, reason = "it becomes part of the last frame")]
    pub(super) fn end(&mut self, outcome: Outcome, response: Value) -> Vec<Frame> {
        let (status, last) = match outcome {
            Outcome::Truncated => ("incomplete", "response.incomplete"),
            _ => ("completed", "response.completed"),
        };
        let text = self.placed(json!({"content_index": 0, "text": self.text, "logprobs": []}));
        let part = self.placed(json!({"content_index": 0, "part": self.part()}));
        let item = json!({"output_index": 0, "item": self.item(status, &[self.part()])});
        vec![
            self.frame("response.output_text.done", text),
            self.frame("response.content_part.done", part),
            self.frame("response.output_item.done", item),
            self.frame(last, json!({ "response": response })),
            Frame::Done,
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
            members.insert("output_index".into(), 0.into());
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
        let output = if over { vec![self.item(status, &[self.part()])] } else { Vec::new() };
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
            "tools": [],
            "tool_choice": "none",
            "parallel_tool_calls": false,
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
