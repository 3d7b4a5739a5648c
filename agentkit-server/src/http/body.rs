//! Extractors that read what a client sent, with one kind of error.

use agentkit_core::{CollectionName, DocumentId, Error};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::admit::Run;
use super::problem::{Problem, ProblemKind};
use super::wire::InCollection;

/// Longest document in bytes of its text.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;
/// Longest body that carries a document: JSON may escape every other character of it.
pub(super) const MAX_DOCUMENT_BODY_BYTES: usize = 2 * MAX_DOCUMENT_BYTES;

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let found = media_type(request.headers());
        if !is_json(&found) {
            let detail =
                format!("the body is of type {found:?}; send JSON with content-type application/json");
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        let bytes = Raw::from_request(request, state).await?.0;
        from_json(&bytes).map(Self)
    }
}

/// A body of any type, within the route's limit and the request's deadline.
#[derive(Debug)]
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let run = Run::from_request_parts(&mut parts, state).await?;
        let whole = Bytes::from_request(Request::from_parts(parts, body), state);
        let read = run.ctx.run(async { Ok(whole.await) }).await?;
        read.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(ProblemKind::TooLarge, "the body is longer than this route allows")
            }
            _ => Problem::new(ProblemKind::InvalidInput, format!("read the body: {}", rejection.body_text())),
        })
    }
}

/// The parameters behind the `?`.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(parameters)| Self(parameters))
            .map_err(|rejection| Problem::new(ProblemKind::InvalidInput, rejection.body_text()))
    }
}

/// The document a request is about, and the collection it names.
#[derive(Debug)]
pub(super) struct Addressed {
    pub(super) id: DocumentId,
    pub(super) collection: Option<CollectionName>,
}

impl<S: Send + Sync> FromRequestParts<S> for Addressed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|rejection| {
            Problem::new(
                ProblemKind::InvalidInput,
                format!("read the document id: {}", rejection.body_text()),
            )
        })?;
        let id = DocumentId::new(id)?;
        let Parameters(within) = Parameters::<InCollection>::from_request_parts(parts, state).await?;
        Ok(Self { id, collection: within.collection })
    }
}

/// Reads JSON, saying where it is wrong.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to());
        Problem::new(ProblemKind::InvalidInput, detail)
    })?;
    // The derived readers would take an array for an object's members in order.
    if !text.trim_start().starts_with('{') {
        return Err(Problem::new(
            ProblemKind::InvalidInput,
            "read the body as JSON: it must be an object, {…}",
        ));
    }
    serde_json::from_str(text)
        .map_err(|error| Problem::new(ProblemKind::InvalidInput, format!("read the body as JSON: {error}")))
}

/// The media type in lower case without its parameters; empty if there is none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Refuses the one character that no text has and many stores stumble over.
pub(super) fn without_nul(what: &str, text: &str) -> Result<(), Error> {
    match text.find('\0') {
        None => Ok(()),
        Some(at) => {
            Err(Error::invalid_input(format!("the {what} holds a NUL character at byte {at}; remove it")))
        }
    }
}
