//! `/documents`: what the service knows.

use agentkit_core::{DocumentId, Error, RunContext, TenantScope};
use agentkit_rag::{SourceDocument, SourceKind};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::admit::Run;
use super::body::{
    Addressed, Json, MAX_DOCUMENT_BYTES, Parameters, Raw, from_json, is_json, media_type, without_nul,
};
use super::paging;
use super::problem::{Problem, ProblemKind};
use super::state::{AuditTarget, Permit, Read, Write};
use super::wire::{DeleteMatching, DeletedMatching, DocumentPage, InCollection, ListDocuments, PutDocument};
use crate::documents::{Document, Upserted};

/// Stores a document, or replaces the one of this id.
///
/// The body is JSON, or the file itself with its media type, such as Markdown, PDF or CSV. When the answer
/// arrives, the document is on the disk and every later search sees it.
#[utoipa::path(
    put,
    path = "/documents/{id}",
    tag = "documents",
    params(("id" = super::schema::IdSchema, Path, description = "1 to 512 bytes; slashes may stand as they are"), InCollection),
    request_body(content(
        (PutDocument = "application/json"),
        (super::schema::FileSchema = "text/plain"),
        (super::schema::FileSchema = "text/markdown"),
        (super::schema::FileSchema = "text/html"),
    )),
    responses(
        (status = 200, description = "It is stored", body = Upserted),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    permit: Permit<Write>,
    run: Run,
    Addressed { id, collection }: Addressed,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<axum::Json<Upserted>, Problem> {
    let scope = permit.scope(collection)?;
    // Parsing a large page takes a while, so it leaves the async threads.
    let document = run.ctx.run_blocking(move |_| Ok(read(&id, &headers, &body))).await??;
    let stored = run.ctx.run(store(&permit, &scope, document, &run.ctx)).await?;
    Ok(axum::Json(stored))
}

/// Stores a document as its sender's, who is its uploader if that succeeds.
pub(super) async fn store(
    permit: &Permit<Write>,
    scope: &TenantScope,
    document: SourceDocument,
    ctx: &RunContext,
) -> Result<Upserted, Error> {
    let (personal, id) = (permit.personal(), document.id.clone());
    let new = personal.uploads(scope, &id, ctx).await?;
    let stored = permit.documents().upsert(scope, vec![document], ctx).await;
    match &stored {
        Ok(_) => personal.uploaded(scope, &id, ctx).await?,
        // What was stopped may be stored all the same.
        Err(error) if new && ctx.check().is_ok() => {
            tracing::debug!(error = error.chain(), "the upload came to nothing");
            personal.gives_up(scope, &id, ctx).await?;
        }
        Err(_) => {}
    }
    stored
}

/// A document with its source text.
#[utoipa::path(
    get,
    path = "/documents/{id}",
    tag = "documents",
    params(("id" = super::schema::IdSchema, Path, description = "The document's id"), InCollection),
    responses(
        (status = 200, description = "The document", body = Document),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    permit: Permit<Read>,
    run: Run,
    Addressed { id, collection }: Addressed,
) -> Result<axum::Json<Document>, Problem> {
    let scope = permit.scope(collection)?;
    let found = run.ctx.run(permit.documents().get(&scope, &id, &run.ctx)).await?;
    found.map(axum::Json).ok_or_else(|| no_such_document(&id).into())
}

/// Deletes a document and everything derived from it.
#[utoipa::path(
    delete,
    path = "/documents/{id}",
    tag = "documents",
    params(("id" = super::schema::IdSchema, Path, description = "The document's id"), InCollection),
    responses(
        (status = 204, description = "It is deleted"),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    permit: Permit<Write>,
    run: Run,
    Addressed { id, collection }: Addressed,
) -> Result<StatusCode, Problem> {
    let (scope, ids) = (permit.scope(collection)?, [id]);
    let deleted = run.ctx.run(permit.documents().delete(&scope, &ids, &run.ctx)).await?;
    run.ctx.run(permit.personal().removed(&scope, &ids, &run.ctx)).await?;
    let [id] = &ids;
    if deleted == 0 { Err(no_such_document(id).into()) } else { Ok(StatusCode::NO_CONTENT) }
}

/// Deletes the documents that match a filter, or with `dry_run` says how many that would be.
///
/// All of them are deleted, or none. Documents that are stored meanwhile may or may not be among them.
#[utoipa::path(
    post,
    path = "/delete",
    tag = "documents",
    request_body = DeleteMatching,
    responses(
        (status = 200, description = "They are deleted, or counted", body = DeletedMatching),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_matching(
    permit: Permit<Write>,
    run: Run,
    Json(request): Json<DeleteMatching>,
) -> Result<Response, Problem> {
    let scope = permit.scope(request.collection)?;
    let (documents, ctx) = (permit.documents(), &run.ctx);
    let ids = ctx.run(documents.matching(&scope, &request.filter, ctx)).await?;
    let (matched, dry_run) = (ids.len() as u64, request.dry_run.unwrap_or_default());
    let mut deleted = 0;
    if !dry_run && !ids.is_empty() {
        deleted = ctx.run(documents.delete(&scope, &ids, ctx)).await?;
        ctx.run(permit.personal().removed(&scope, &ids, ctx)).await?;
    }
    let (would, count) = if dry_run { ("would delete ", matched) } else { ("", deleted) };
    let target = AuditTarget(format!("{would}{count} documents of {}", scope.collection()));
    let mut response = axum::Json(DeletedMatching { matched, deleted, dry_run }).into_response();
    response.extensions_mut().insert(target);
    Ok(response)
}

/// The documents by id, in pages.
#[utoipa::path(
    get,
    path = "/documents",
    tag = "documents",
    params(ListDocuments),
    responses(
        (status = 200, description = "A page of the list", body = DocumentPage),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    permit: Permit<Read>,
    run: Run,
    Parameters(page): Parameters<ListDocuments>,
) -> Result<axum::Json<DocumentPage>, Problem> {
    let limit = paging::length(page.limit)?;
    let scope = permit.scope(page.collection)?;
    let found = permit.documents().list(&scope, page.after.as_ref(), limit + 1, &run.ctx);
    let mut documents = run.ctx.run(found).await?;
    let next = paging::cut(&mut documents, limit, |last| last.id.clone());
    Ok(axum::Json(DocumentPage { documents, next }))
}

fn no_such_document(id: &DocumentId) -> Error {
    Error::not_found(format!("there is no document {:?} in this collection", id.as_str()))
}

/// Makes a document of what was sent.
fn read(id: &DocumentId, headers: &HeaderMap, body: &Bytes) -> Result<SourceDocument, Problem> {
    let media_type = media_type(headers);
    let document = if is_json(&media_type) {
        from_request(id, from_json(body)?)?
    } else {
        let format =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        from_file(id, format, body)?
    };
    check(&document)?;
    Ok(document)
}

pub(super) fn from_request(id: &DocumentId, request: PutDocument) -> Result<SourceDocument, Error> {
    let mut document = match (request.kind, request.headings) {
        (SourceKind::Markdown, None) => {
            crate::engine::load_bytes(id, "text/markdown", request.text.as_bytes())?
        }
        (kind, headings) => {
            let mut document = SourceDocument::text(id.as_str(), request.text)?;
            document.kind = kind;
            document.headings = headings.unwrap_or_default();
            document
        }
    };
    document.marks = request.marks;
    document.original_start = request.original_start;
    document.title = request.title.or(document.title);
    document.uri = request.uri.or(document.uri);
    document.metadata = request.metadata;
    Ok(document)
}

pub(super) fn from_file(id: &DocumentId, format: &str, body: &Bytes) -> Result<SourceDocument, Problem> {
    crate::engine::load_bytes(id, format, body).map_err(|error| match error.kind() {
        agentkit_core::ErrorKind::Unsupported => {
            let detail = format!("{}; or send JSON with content-type application/json", error.message());
            Problem::new(ProblemKind::UnsupportedMediaType, detail)
        }
        _ => error.into(),
    })
}

/// Refuses what cannot be kept.
pub(super) fn check(document: &SourceDocument) -> Result<(), Problem> {
    let text = &document.source_text;
    if text.len() > MAX_DOCUMENT_BYTES {
        let detail =
            format!("the document has {} bytes, at most {MAX_DOCUMENT_BYTES} are allowed", text.len());
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    if text.trim().is_empty() {
        return Err(Error::invalid_input("the document has no text; send some, or delete it instead").into());
    }
    without_nul("document", text)?;
    without_nul("title", document.title.as_deref().unwrap_or_default())?;
    without_nul("uri", document.uri.as_deref().unwrap_or_default())?;
    document.metadata.validate()?;
    in_place("headings", text, document.headings.iter().map(|heading| heading.offset))?;
    in_place("marks", text, document.marks.iter().map(|mark| mark.offset))?;
    Ok(())
}

/// Checks that offsets ascend and lie on characters of the text.
fn in_place(what: &str, text: &str, mut offsets: impl Iterator<Item = usize> + Clone) -> Result<(), Error> {
    if offsets.clone().is_sorted() && offsets.all(|offset| text.is_char_boundary(offset)) {
        return Ok(());
    }
    Err(Error::invalid_input(format!("the {what} must come in order and begin on a character of the text")))
}
