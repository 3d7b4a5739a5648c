//! `/sessions`: the conversations of the one who is asking.

use agentkit_core::{Error, SessionId};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::admit::Run;
use super::body::{Json, Parameters, without_nul};
use super::paging;
use super::problem::{Problem, ProblemKind};
use super::state::{Own, Permit};
use super::wire::{Conversation, ListSessions, ReadSession, RenameSession, SessionPage};

/// The conversation that the path names.
#[derive(Debug)]
pub(super) struct Named(SessionId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|rejection| {
            let detail = format!("read the session id: {}", rejection.body_text());
            Problem::new(ProblemKind::InvalidInput, detail)
        })?;
        Ok(Self(SessionId::new(id)?))
    }
}

/// The conversations by id, in pages.
#[utoipa::path(
    get,
    path = "/sessions",
    tag = "sessions",
    params(ListSessions),
    responses(
        (status = 200, description = "A page of the list", body = SessionPage),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    permit: Permit<Own>,
    run: Run,
    Parameters(page): Parameters<ListSessions>,
) -> Result<axum::Json<SessionPage>, Problem> {
    let limit = paging::length(page.limit)?;
    let personal = permit.personal();
    let mut sessions = run.ctx.run(personal.sessions(page.after.as_ref(), limit + 1, &run.ctx)).await?;
    let next = paging::cut(&mut sessions, limit, |last| last.id.clone());
    Ok(axum::Json(SessionPage { sessions, next }))
}

/// A conversation with its newest messages, oldest first.
#[utoipa::path(
    get,
    path = "/sessions/{id}",
    tag = "sessions",
    params(("id" = super::schema::IdSchema, Path, description = "The conversation's id, percent-encoded"), ReadSession),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    permit: Permit<Own>,
    run: Run,
    Named(id): Named,
    Parameters(page): Parameters<ReadSession>,
) -> Result<axum::Json<Conversation>, Problem> {
    read(&permit, &run, id, paging::length(page.limit)?).await.map(axum::Json)
}

/// Gives a conversation a title.
#[utoipa::path(
    patch,
    path = "/sessions/{id}",
    tag = "sessions",
    params(("id" = super::schema::IdSchema, Path, description = "The conversation's id, percent-encoded")),
    request_body = RenameSession,
    responses(
        (status = 204, description = "It has the title"),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rename(
    permit: Permit<Own>,
    run: Run,
    Named(id): Named,
    Json(request): Json<RenameSession>,
) -> Result<StatusCode, Problem> {
    without_nul("title", &request.title)?;
    let personal = permit.personal();
    let renamed = run.ctx.run(personal.rename(&id, &request.title, &run.ctx)).await?;
    if renamed { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_session(&id).into()) }
}

/// Deletes a conversation.
#[utoipa::path(
    delete,
    path = "/sessions/{id}",
    tag = "sessions",
    params(("id" = super::schema::IdSchema, Path, description = "The conversation's id, percent-encoded")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(permit: Permit<Own>, run: Run, Named(id): Named) -> Result<StatusCode, Problem> {
    let personal = permit.personal();
    // First what still writes to it.
    permit.runs().forget_session(&permit.owner(), &id);
    let existed = run.ctx.run(personal.forget(&id, &run.ctx)).await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_session(&id).into()) }
}

/// A whole conversation as a file.
#[utoipa::path(
    get,
    path = "/sessions/{id}/export",
    tag = "sessions",
    params(("id" = super::schema::IdSchema, Path, description = "The conversation's id, percent-encoded")),
    responses(
        (status = 200, description = "The conversation, at most its newest 10,000 messages", body = Conversation),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn export(permit: Permit<Own>, run: Run, Named(id): Named) -> Result<Response, Problem> {
    let conversation = read(&permit, &run, id, usize::MAX).await?;
    let attached = [(header::CONTENT_DISPOSITION, "attachment; filename=\"conversation.json\"")];
    Ok((attached, axum::Json(conversation)).into_response())
}

async fn read(permit: &Permit<Own>, run: &Run, id: SessionId, most: usize) -> Result<Conversation, Problem> {
    let personal = permit.personal();
    let found = run.ctx.run(personal.conversation(&id, most, &run.ctx)).await?;
    let (title, messages) = found.ok_or_else(|| no_such_session(&id))?;
    Ok(Conversation { id, title, messages })
}

fn no_such_session(id: &SessionId) -> Error {
    Error::not_found(format!("there is no session {:?}", id.as_str()))
}
