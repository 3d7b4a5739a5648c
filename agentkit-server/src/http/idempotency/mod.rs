//! Writes that are sent again are done once: an `Idempotency-Key` gets the answer that it got before.
//!
//! A client that did not hear the answer sends the request again with the same key. While the first is under way the second
//! is told so; afterwards it gets the first one's answer. Answers are kept for an hour and within a bound: in memory, and where
//! something was done also in the store, so that it is not done again after a restart. What failed for the service's own
//! sake is not kept, and done anew.

mod durable;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentkit_core::{Error, RunContext, StateStore};
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use moka::sync::Cache;

use self::durable::{Durable, Written};
use super::admit::Run;
use super::body::MAX_DOCUMENT_BODY_BYTES;
use super::jobs;
use super::problem::{Problem, ProblemKind};
use super::runs::Owner;
use super::state::{AppState, owner_of};
use crate::clock::{Clock, Timestamp};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key in bytes.
const MAX_KEY_BYTES: usize = 255;
/// The routes that know keys.
const ROUTES: [&str; 6] = ["/chat", "/delete", "/documents/{*id}", "/feedback", "/jobs", "/sessions/{id}"];
/// Longest body of an answer that is kept, in bytes.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;
/// What all answers that are kept may take, in bytes.
const MAX_KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// How long answers are kept.
const KEPT: Duration = Duration::from_hours(1);

/// Whose key it is, and the key.
type Name = (Owner, String);
/// What a request says, all of it.
type Fingerprint = blake3::Hash;

/// An answer that can be given again.
#[derive(Debug, Clone)]
struct Kept {
    asked: Fingerprint,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// What has no body yet.
    problem: Option<Problem>,
}

/// The answers that are kept, and the keys under way.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    kept: Cache<Name, Arc<Kept>>,
    under_way: Arc<Mutex<HashMap<Name, Fingerprint>>>,
    durable: Durable,
}

/// What is to be done with a request.
enum Turn {
    First(Ticket),
    Again(Arc<Kept>),
}

/// The right to do what a key stands for; dropped, the key is free again.
struct Ticket {
    answers: Answers,
    name: Name,
    asked: Fingerprint,
}

/// A mark of requests whose answer is to be kept.
#[derive(Debug, Clone)]
struct Keyed;

/// Whether the answer to a request is to be kept.
#[derive(Debug)]
pub(super) struct IsKeyed(pub(super) bool);

impl<S: Sync> FromRequestParts<S> for IsKeyed {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<Keyed>().is_some()))
    }
}

/// Does what a key stands for once.
pub(super) async fn once(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let known = request.extensions().get::<MatchedPath>().is_some_and(|path| ROUTES.contains(&path.as_str()));
    if !known || request.method().is_safe() || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match keyed(&state, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn keyed(state: &AppState, request: Request, next: Next) -> Result<Response, Problem> {
    let key = key(request.headers())?;
    let owner = owner_of(&request)?;
    let (mut request, asked) = read(request).await?;
    let ctx = request.extensions().get::<Run>().map(|run| run.ctx.clone()).unwrap_or_default();
    match state.answers().begin((owner, key), asked)? {
        Turn::Again(kept) => Ok(kept.response()),
        Turn::First(ticket) => {
            if let Some(kept) = ticket.before_restart(&ctx).await? {
                return Ok(kept.response());
            }
            request.extensions_mut().insert(Keyed);
            Ok(ticket.keep(next.run(request).await).await)
        }
    }
}

fn key(headers: &HeaderMap) -> Result<String, Error> {
    let mut shown = headers.get_all(KEY).iter();
    let key = shown.next().and_then(|key| key.to_str().ok()).unwrap_or_default();
    if shown.next().is_some() || !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        let message = format!("Idempotency-Key must be one text of 1 to {MAX_KEY_BYTES} ASCII characters");
        return Err(Error::invalid_input(message));
    }
    Ok(key.to_owned())
}

/// Reads a request as a whole, and what it says as one number.
async fn read(request: Request) -> Result<(Request, Fingerprint), Problem> {
    let (mut parts, body) = request.into_parts();
    let run = Run::from_request_parts(&mut parts, &()).await?;
    let is_job = parts.uri.path() == "/jobs";
    let most = if is_job { jobs::MAX_BODY_BYTES } else { MAX_DOCUMENT_BODY_BYTES };
    let read = run.ctx.run(async { Ok(to_bytes(body, most).await) }).await?;
    let body = read.map_err(|_| {
        Problem::new(ProblemKind::TooLarge, "the body is longer than this route allows, or was cut off")
    })?;
    let mut hasher = blake3::Hasher::new();
    let kind = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), kind, &body] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Ok((Request::from_parts(parts, Body::from(body)), hasher.finalize()))
}

impl Answers {
    pub(super) fn new(store: Arc<dyn StateStore>, clock: Clock) -> Self {
        let weight = |_: &Name, kept: &Arc<Kept>| u32::try_from(kept.bytes()).unwrap_or(u32::MAX);
        let kept = Cache::builder().weigher(weight).max_capacity(MAX_KEPT_BYTES).time_to_live(KEPT);
        let kept = kept.support_invalidation_closures().build();
        Self { kept, under_way: Arc::default(), durable: Durable::new(store, clock) }
    }

    /// Forgets the answers that somebody got.
    pub(super) fn forget(&self, owner: &Owner) {
        let owner = owner.clone();
        // Closures were asked for, so this cannot fail.
        let _ = self.kept.invalidate_entries_if(move |(theirs, _), _| *theirs == owner);
    }

    fn begin(&self, name: Name, asked: Fingerprint) -> Result<Turn, Problem> {
        let mut under_way = self.lock();
        let before = under_way.get(&name).copied();
        let kept = self.kept.get(&name);
        if before.or(kept.as_ref().map(|kept| kept.asked)).is_some_and(|before| before != asked) {
            return Err(reused());
        }
        match (before, kept) {
            (Some(_), _) => {
                let detail = "the first request with this Idempotency-Key is still under way";
                Err(Problem::new(ProblemKind::Conflict, detail).retry_after(Duration::from_secs(1)))
            }
            (None, Some(kept)) => Ok(Turn::Again(kept)),
            (None, None) => {
                under_way.insert(name.clone(), asked);
                drop(under_way);
                Ok(Turn::First(Ticket { answers: self.clone(), name, asked }))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Fingerprint>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The answer that was given before the service was started anew.
    async fn before_restart(&self, ctx: &RunContext) -> Result<Option<Arc<Kept>>, Problem> {
        let (owner, key) = &self.name;
        let Some(written) = self.answers.durable.get(owner, key, ctx).await? else { return Ok(None) };
        if written.asked != self.asked.to_hex().as_str() {
            return Err(reused());
        }
        let kept = Kept::of(self.asked, written).map(Arc::new);
        if let Some(kept) = &kept {
            self.answers.kept.insert(self.name.clone(), kept.clone());
        }
        Ok(kept)
    }

    /// Keeps an answer, if it is of a kind that is kept, and gives it.
    async fn keep(self, response: Response) -> Response {
        let is_small = response.body().size_hint().exact().is_some_and(|bytes| bytes <= MAX_ANSWER_BYTES);
        if !is_small || !is_final(response.status()) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return Problem::new(ProblemKind::Internal, "the answer broke off").into_response();
        };
        let problem = parts.extensions.get::<Problem>().cloned();
        let (status, headers) = (parts.status, parts.headers.clone());
        let kept = Kept { asked: self.asked, status, headers, body: body.clone(), problem };
        if let Some(written) = kept.written(self.answers.durable.now()) {
            let (owner, key) = &self.name;
            if let Err(error) = self.answers.durable.put(owner, key, &written).await {
                tracing::warn!(error = error.chain(), "an answer will not survive a restart");
            }
        }
        self.answers.kept.insert(self.name.clone(), Arc::new(kept));
        Response::from_parts(parts, Body::from(body))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.name);
    }
}

impl Kept {
    /// As it is written down, if something was done.
    fn written(&self, at: Timestamp) -> Option<Written> {
        let pair = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let body = std::str::from_utf8(&self.body).ok().filter(|_| self.status.is_success())?.to_owned();
        let headers = self.headers.iter().filter_map(pair).collect();
        Some(Written {
            asked: self.asked.to_hex().to_string(),
            status: self.status.as_u16(),
            headers,
            body,
            at,
        })
    }

    /// What was written down.
    fn of(asked: Fingerprint, written: Written) -> Option<Self> {
        let pair = |(name, value): (String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        let headers = written.headers.into_iter().filter_map(pair).collect();
        let (status, body) = (StatusCode::from_u16(written.status).ok()?, written.body.into());
        Some(Self { asked, status, headers, body, problem: None })
    }

    fn response(&self) -> Response {
        let mut response = (self.status, self.body.clone()).into_response();
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response.extensions_mut().extend(self.problem.clone().map(with_problem).unwrap_or_default());
        response
    }

    /// What it takes in memory, roughly.
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        size_of::<Self>() + MAX_KEY_BYTES + headers + self.body.len()
    }
}

fn reused() -> Problem {
    Problem::new(ProblemKind::KeyReused, "this Idempotency-Key was used for another request; take a new one")
}

fn with_problem(problem: Problem) -> axum::http::Extensions {
    let mut extensions = axum::http::Extensions::new();
    extensions.insert(problem);
    extensions
}

/// Whether the same request would be answered like this again, whenever it comes.
fn is_final(status: StatusCode) -> bool {
    let passing = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT];
    !status.is_server_error() && !passing.contains(&status)
}
