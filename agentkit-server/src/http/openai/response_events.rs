//! Makes a response, and the events of one, out of the events of a run.

use agentkit_core::{AgentEventKind, Citation, Outcome, SessionId, Usage};
use axum::response::sse::Event;
use serde_json::{Value, json};

use super::chat::Head;
use super::error::{failed, waits};
use crate::http::problem::Problem;

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

/// A response being made.
#[derive(Debug)]
pub(super) struct Answer {
    head: Head,
    instructions: Option<String>,
    conversation: Option<SessionId>,
    text: String,
    annotations: Vec<Value>,
    usage: Usage,
    next: u64,
}

impl Answer {
    /// A response whose id is made of that of `head`.
    pub(super) fn new(head: Head, instructions: Option<String>, conversation: Option<SessionId>) -> Self {
        let (text, annotations, usage) = (String::new(), Vec::new(), Usage::default());
        Self { head, instructions, conversation, text, annotations, usage, next: 0 }
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
            AgentEventKind::Done { outcome } => self.end(outcome),
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

    fn end(&mut self, outcome: Outcome) -> Vec<Frame> {
        let Some(response) = self.ended(outcome) else { return self.fail(&waits()) };
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

    fn fail(&mut self, problem: &Problem) -> Vec<Frame> {
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
        self.annotations.push(json!({
            "type": "file_citation",
            "file_id": id,
            "filename": citation.title.as_deref().unwrap_or(id),
            "index": self.text.chars().count(),
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
            "id": format!("resp_{}", self.head.id),
            "object": "response",
            "created_at": self.head.created,
            "status": status,
            "error": error,
            "incomplete_details": cut,
            "instructions": self.instructions,
            "conversation": self.conversation.as_ref().map(|id| json!({"id": id})),
            "previous_response_id": null,
            "model": self.head.model,
            "output": output,
            "usage": over.then(|| self.usage()),
            "tools": [],
            "tool_choice": "none",
            "parallel_tool_calls": false,
            "text": {"format": {"type": "text"}},
            "truncation": "auto",
            "temperature": null,
            "top_p": null,
            "reasoning": null,
            "max_output_tokens": null,
            "metadata": {},
            "background": false,
            "store": false,
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
