//! The events of a run on their way to a client, whatever form they are given.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use agentkit_core::{AgentEvent, AgentEventKind, AgentStream, Error, RunContext, SessionId};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use serde_json::Value;

use super::admit::Run;

/// A comment this often keeps a silent stream open through proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A stream of server-sent events.
pub(super) fn sse(events: impl Stream<Item = Result<Event, axum::Error>> + Send + 'static) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// An event in the form in which clients of `/chat` get it; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    seq: u64,
    /// Its type, as the JSON names it.
    name: Arc<str>,
    json: Arc<str>,
    last: bool,
}

impl Encoded {
    pub(super) fn of(event: &AgentEvent) -> Self {
        let json = serde_json::to_value(event).unwrap_or_default();
        let name = json.get("type").and_then(Value::as_str).unwrap_or_default().into();
        Self { seq: event.seq, name, json: json.to_string().into(), last: is_last(&event.kind) }
    }

    pub(super) fn sse(&self) -> Event {
        Event::default().id(self.seq.to_string()).event(&*self.name).data(&*self.json)
    }

    pub(super) fn json(&self) -> &str {
        &self.json
    }

    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// What it takes in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.json.len()
    }
}

fn is_last(kind: &AgentEventKind) -> bool {
    matches!(kind, AgentEventKind::Done { .. } | AgentEventKind::Error { .. })
}

/// The events of a run up to its last; a run that does not stop when told to is cut off with an `error` event.
pub(super) struct Guarded {
    events: AgentStream,
    /// The conversation by the name its owner knows.
    session: Option<SessionId>,
    stopped: Pin<Box<dyn Future<Output = Error> + Send>>,
    next_seq: u64,
    over: bool,
    run: Run,
}

impl Stream for Guarded {
    type Item = AgentEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AgentEvent>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = Pin::new(&mut this.events).poll_next(cx) {
            let mut event =
                event.unwrap_or_else(|| this.failure(&Error::internal("the run ended without saying how")));
            if let AgentEventKind::Started { session_id, .. } = &mut event.kind {
                session_id.clone_from(&this.session);
            }
            this.next_seq = event.seq.saturating_add(1);
            this.over = is_last(&event.kind);
            return Poll::Ready(Some(event));
        }
        match this.stopped.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(error) => {
                this.over = true;
                Poll::Ready(Some(this.failure(&error)))
            }
        }
    }
}

impl Guarded {
    pub(super) fn new(events: AgentStream, run: Run, session: Option<SessionId>) -> Self {
        let ctx = run.ctx.clone();
        let stopped = Box::pin(async move { ctx.stopped().await });
        Self { events, session, stopped, next_seq: 0, over: false, run }
    }

    /// The context the run has.
    pub(super) fn context(&self) -> &RunContext {
        &self.run.ctx
    }

    fn failure(&self, error: &Error) -> AgentEvent {
        let kind = AgentEventKind::Error { kind: error.kind(), message: error.message().to_owned() };
        AgentEvent { seq: self.next_seq, kind }
    }
}
