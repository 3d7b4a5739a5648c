//! What happens over one WebSocket: a credential, and then message after message.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result, RunContext, TraceContext};
use axum::http::HeaderMap;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep_until};
use tracing::Instrument as _;

use super::MAX_FRAME_BYTES;
use super::frames::{FromClient, FromService, Resume};
use super::line::{End, Heard, Line};
use crate::config::Secret;
use crate::http::body::from_json;
use crate::http::chat::{self, Begun};
use crate::http::events::Encoded;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::runs::{Record, follow};
use crate::http::state::{AppState, Ask, Permit, bearer};
use crate::http::trace;
use crate::http::wire::ChatRequest;

/// How long a client may take to show its credential.
const AUTH_PATIENCE: Duration = Duration::from_secs(10);
/// A sign this often keeps a silent line open through proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Frames that make no sense, in a row, after which the line is closed.
const MAX_NONSENSE: usize = 8;
/// Where problems happen, as their documents say.
const INSTANCE: &str = "/chat/ws";
/// What a message is called in the audit trail.
const ACTION: &str = "MESSAGE /chat/ws";

/// One client's side of a WebSocket.
pub(super) struct Conversation {
    state: AppState,
    credential: Option<Secret>,
    /// Whether the credential was good when it was shown.
    known: bool,
    answer: Option<Answer>,
    nonsense: usize,
    heard: Instant,
}

/// An answer that is under way.
struct Answer {
    events: Pin<Box<dyn Stream<Item = Encoded> + Send>>,
    stop: Stop,
}

/// What stops an answer.
enum Stop {
    Run(RunContext),
    Record(Arc<Record>),
}

/// What comes next.
enum Next {
    Heard(Heard),
    Event(Option<Encoded>),
    Late,
    Drain,
    Sign,
}

impl Conversation {
    /// Lets a client in that shows a good credential, or none yet.
    pub(super) async fn begin(state: AppState, headers: &HeaderMap) -> Result<Self, Problem> {
        let shows = headers.contains_key(axum::http::header::AUTHORIZATION);
        let credential = bearer(headers).map(|credential| Secret::new(credential.to_owned()));
        let known = shows || state.is_insecure();
        let conversation =
            Self { state, credential, known, answer: None, nonsense: 0, heard: Instant::now() };
        if known {
            conversation.permit().await?;
        }
        Ok(conversation)
    }

    /// Goes on until either side ends it.
    pub(super) async fn hold(mut self, mut line: Line) {
        let end = match self.go_on(&mut line).await {
            Ok(end) => end,
            Err(error) => {
                tracing::debug!(error = error.chain(), "a WebSocket was given up");
                End::Left
            }
        };
        // Stops what is under way before the last word, which may take a while.
        drop(self);
        line.close(end).await;
    }

    async fn go_on(&mut self, line: &mut Line) -> Result<End> {
        let mut signs = tokio::time::interval(KEEP_ALIVE);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        signs.reset();
        if self.known {
            line.tell(&FromService::Ready).await?;
        }
        loop {
            let end = match self.next(line, &mut signs).await {
                Next::Heard(heard) => self.take(heard, line).await?,
                Next::Event(event) => self.pass_on(event, line).await?,
                Next::Sign => line.sign().await.map(|()| None)?,
                Next::Drain => Some(End::Draining),
                Next::Late if self.known => Some(End::Idle),
                Next::Late => Some(End::Refused("no credential was shown in time".into())),
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    async fn next(&mut self, line: &mut Line, signs: &mut Interval) -> Next {
        let patience = if self.known { self.state.limits().socket_idle } else { AUTH_PATIENCE };
        let (state, busy, late) = (self.state.clone(), self.answer.is_some(), self.heard + patience);
        let answer = &mut self.answer;
        let event = async {
            match answer {
                Some(answer) => answer.events.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = line.hear() => Next::Heard(heard),
            event = event => Next::Event(event),
            () = sleep_until(late), if !busy => Next::Late,
            () = state.draining(), if !busy => Next::Drain,
            _ = signs.tick() => Next::Sign,
        }
    }

    async fn pass_on(&mut self, event: Option<Encoded>, line: &mut Line) -> Result<Option<End>> {
        match event {
            Some(event) => line.pass_on(event.json()).await?,
            None => {
                self.answer = None;
                self.heard = Instant::now();
            }
        }
        Ok(None)
    }

    async fn take(&mut self, heard: Heard, line: &mut Line) -> Result<Option<End>> {
        let text = match heard {
            Heard::Text(text) => text,
            Heard::Sign => return Ok(None),
            Heard::Over => return Ok(Some(End::Left)),
            Heard::TooLong => return Ok(Some(End::TooLong(MAX_FRAME_BYTES))),
            Heard::Bytes => return Ok(Some(End::Refused("frames are JSON as text".into()))),
        };
        self.heard = if self.known { Instant::now() } else { self.heard };
        let (span, trace) = trace::apart(ACTION);
        let taken = match from_json(text.as_bytes()) {
            Ok(frame) => self.obey(frame, &trace, line).instrument(span).await?,
            Err(problem) => {
                self.nonsense += 1;
                Err(problem)
            }
        };
        let Err(problem) = taken else {
            self.nonsense = 0;
            return Ok(None);
        };
        let ends = self.ends(&problem);
        let problem = problem.document(INSTANCE, &trace.trace_id());
        line.tell(&FromService::Problem { problem }).await?;
        Ok(ends)
    }

    /// Whether a problem is the last that a client is told.
    fn ends(&self, problem: &Problem) -> Option<End> {
        let stranger = !self.known || problem.kind() == ProblemKind::Unauthorized;
        if stranger {
            return Some(End::Refused("a good credential is needed".into()));
        }
        (self.nonsense >= MAX_NONSENSE).then(|| End::Refused("too many frames make no sense".into()))
    }

    async fn obey(
        &mut self,
        frame: FromClient,
        trace: &TraceContext,
        line: &mut Line,
    ) -> Result<Result<(), Problem>> {
        let told = match frame {
            FromClient::Auth(_) if self.known => Err(invalid("the credential was already shown")),
            FromClient::Auth(auth) => {
                self.credential = Some(auth.secret());
                match self.permit().await {
                    Ok(_) => {
                        self.known = true;
                        self.heard = Instant::now();
                        Ok(FromService::Ready)
                    }
                    Err(problem) => Err(problem),
                }
            }
            _ if !self.known => {
                let detail = "show a credential first: {\"type\": \"auth\", \"token\": …}";
                Err(Problem::new(ProblemKind::Unauthorized, detail))
            }
            FromClient::Ping(_) => Ok(FromService::Pong),
            FromClient::Cancel(_) => match &self.answer {
                Some(answer) => {
                    answer.stop();
                    return Ok(Ok(()));
                }
                None => Err(Problem::new(ProblemKind::Conflict, "no answer is under way")),
            },
            FromClient::Message(_) | FromClient::Resume(_) if self.answer.is_some() => {
                Err(Problem::new(ProblemKind::Conflict, "an answer is under way; wait for it, or cancel it"))
            }
            FromClient::Message(message) => self.ask(message, trace).await,
            FromClient::Resume(resume) => self.come_back(resume).await,
        };
        match told {
            Ok(frame) => line.tell(&frame).await.map(Ok),
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Begins an answer, as a request of its own.
    async fn ask(&mut self, message: ChatRequest, trace: &TraceContext) -> Result<FromService, Problem> {
        if self.state.is_draining() {
            return Err(Problem::new(ProblemKind::ShuttingDown, "the service is shutting down"));
        }
        let permit = self.permit().await?;
        let begun = AssertUnwindSafe(begin(&permit, message, trace)).catch_unwind().await;
        let begun = begun.unwrap_or_else(|panic| Err(Problem::of_panic(&*panic)));
        let status = begun.as_ref().map_or_else(|problem| problem.kind().status().as_u16(), |_| 200);
        permit.note(ACTION, status, trace).await?;
        let (accepted, answer) = match begun? {
            Begun::Kept(record) => (Some(record.id().to_owned()), Answer::reading(record, 0)),
            Begun::Bound(events) => {
                let stop = Stop::Run(events.context().clone());
                let events = events.map(|event| Encoded::of(&event));
                (None, Answer { events: Box::pin(events), stop })
            }
        };
        self.answer = Some(answer);
        Ok(FromService::Accepted { run_id: accepted })
    }

    async fn come_back(&mut self, resume: Resume) -> Result<FromService, Problem> {
        let permit = self.permit().await?;
        permit.enter()?;
        let record = permit.runs().find(&permit.owner(), &resume.run_id)?;
        let had = resume.starting_after.map(|had| usize::try_from(had).unwrap_or(usize::MAX));
        let next = had.map_or(0, |had| had.saturating_add(1));
        self.answer = Some(Answer::reading(record, next));
        Ok(FromService::Accepted { run_id: Some(resume.run_id) })
    }

    /// The right to ask, for as long as the credential is good.
    fn permit(&self) -> impl Future<Output = Result<Permit<Ask>, Problem>> + Send + use<> {
        let (state, credential) = (self.state.clone(), self.credential.clone());
        async move { Permit::shown(&state, credential.as_ref().map(Secret::expose)).await }
    }
}

impl Answer {
    fn reading(record: Arc<Record>, next: usize) -> Self {
        Self { events: Box::pin(follow(record.clone(), next)), stop: Stop::Record(record) }
    }

    fn stop(&self) {
        match &self.stop {
            Stop::Run(ctx) => ctx.cancel(),
            Stop::Record(record) => record.stop(),
        }
    }
}

async fn begin(permit: &Permit<Ask>, message: ChatRequest, trace: &TraceContext) -> Result<Begun, Problem> {
    if message.stream.is_some() {
        return Err(invalid("over a WebSocket every answer is a stream; leave stream out"));
    }
    permit.enter()?;
    let run = permit.admit(*trace)?;
    chat::begin(permit, run, message).await
}

fn invalid(detail: &str) -> Problem {
    Error::new(ErrorKind::InvalidInput, detail).into()
}
