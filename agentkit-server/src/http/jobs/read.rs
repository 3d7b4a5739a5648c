//! Reads the documents of a job from the request, as JSON or as files of a form.

use std::collections::HashSet;

use agentkit_core::{DocumentId, Error};
use agentkit_rag::SourceDocument;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use super::wire::BeginJob;
use super::{MAX_BODY_BYTES, MAX_DOCUMENTS, UNIT_BYTES};
use crate::http::admit::Run;
use crate::http::body::{Raw, from_json, is_json, media_type};
use crate::http::documents::{check, from_file, from_request};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::state::{AppState, owner_of};

const FORM: &str = "multipart/form-data";

/// How a document is read.
type Reading = Box<dyn FnOnce() -> Result<SourceDocument, Problem> + Send>;

/// A document that was sent, to be read when its turn comes.
pub(in crate::http) struct Source {
    pub(super) id: DocumentId,
    pub(super) read: Reading,
}

/// The documents of a job, and the room they take until it is over.
pub(in crate::http) struct Sent {
    pub(super) sources: Vec<Source>,
    pub(super) room: OwnedSemaphorePermit,
}

impl FromRequest<AppState> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        state.jobs().check_open(&owner_of(&request)?.tenant)?;
        let most = announced(request.headers()).unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
        let room = state.jobs().room.clone().try_acquire_many_owned(units(most));
        let mut room = room.map_err(|_| {
            Problem::new(ProblemKind::Overloaded, "other jobs hold too many documents; try again in a while")
        })?;
        let found = media_type(request.headers());
        let (sources, bytes) = if is_json(&found) {
            let Raw(body) = Raw::from_request(request, state).await?;
            (of_json(from_json(&body)?), body.len())
        } else if found == FORM {
            of_form(request, state).await?
        } else {
            let detail = format!("the body is of type {found:?}; send {FORM}, or JSON with application/json");
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        };
        check_all(&sources)?;
        // What was reserved and not needed is for others.
        drop(room.split(room.num_permits().saturating_sub(units(bytes) as usize)));
        Ok(Self { sources, room })
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

/// How long the body is, as far as its sender says so.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_all(sources: &[Source]) -> Result<(), Error> {
    if sources.is_empty() || sources.len() > MAX_DOCUMENTS {
        let message = format!("a job takes 1 to {MAX_DOCUMENTS} documents, got {}", sources.len());
        return Err(Error::invalid_input(message));
    }
    let mut seen = HashSet::new();
    match sources.iter().find(|source| !seen.insert(&source.id)) {
        None => Ok(()),
        Some(Source { id, .. }) => {
            Err(Error::invalid_input(format!("the document {:?} is sent twice; send it once", id.as_str())))
        }
    }
}

fn of_json(sent: BeginJob) -> Vec<Source> {
    let source = |entry: super::wire::NamedDocument| {
        let (id, named) = (entry.id.clone(), entry.id);
        let read = move || {
            let document = from_request(&named, entry.document)?;
            check(&document)?;
            Ok(document)
        };
        Source { id, read: Box::new(read) }
    };
    sent.documents.into_iter().map(source).collect()
}

/// The files of a form, and how many bytes they have.
async fn of_form(request: Request, state: &AppState) -> Result<(Vec<Source>, usize), Problem> {
    let run = request.extensions().get::<Run>().cloned();
    let run =
        run.ok_or_else(|| Problem::new(ProblemKind::Internal, "the route stands outside the admission"))?;
    let form = Multipart::from_request(request, state).await;
    let mut form =
        form.map_err(|rejection| Problem::new(ProblemKind::InvalidInput, rejection.body_text()))?;
    let (mut sources, mut bytes) = (Vec::new(), 0);
    while let Some(field) = run.ctx.run(async { Ok(form.next_field().await) }).await?.map_err(broken)? {
        if sources.len() == MAX_DOCUMENTS {
            let message = format!("a job takes {MAX_DOCUMENTS} documents at most; send the rest as another");
            return Err(Error::invalid_input(message).into());
        }
        let (id, format) = named(&field, sources.len())?;
        let body = run.ctx.run(async { Ok(field.bytes().await) }).await?.map_err(broken)?;
        bytes += body.len();
        sources.push(of_file(id, format, body));
    }
    Ok((sources, bytes))
}

/// What a file is called, and its format: that of its name if it is known, because what clients say of types differs.
fn named(field: &Field<'_>, at: usize) -> Result<(DocumentId, String), Error> {
    let name = field.file_name().unwrap_or_default();
    if name.is_empty() {
        let message =
            format!("part {at} of the form is no file: it has no filename, which is the document's id");
        return Err(Error::invalid_input(message));
    }
    let id = DocumentId::new(name)?;
    let format = crate::engine::extension_of(name).map(str::to_owned);
    Ok((id, format.unwrap_or_else(|| field.content_type().unwrap_or_default().to_owned())))
}

fn of_file(id: DocumentId, format: String, body: Bytes) -> Source {
    let named = id.clone();
    let read = move || {
        let document = from_file(&named, &format, &body)?;
        check(&document)?;
        Ok(document)
    };
    Source { id, read: Box::new(read) }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn broken(error: MultipartError) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(ProblemKind::TooLarge, "the body is longer than this route allows")
        }
        _ => Problem::new(ProblemKind::InvalidInput, format!("read the form: {}", error.body_text())),
    }
}
