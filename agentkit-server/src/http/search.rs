//! `POST /search`: passages without an answer.

use agentkit_core::SearchRequest;
use axum::response::{IntoResponse as _, Response};

use super::admit::Run;
use super::body::Json;
use super::problem::Problem;
use super::state::{Ask, Permit};
use super::wire;

/// Finds the passages that answer a question, best first, each with the reason it was found.
#[utoipa::path(
    post,
    path = "/search",
    tag = "search",
    request_body = wire::SearchRequest,
    responses(
        (status = 200, description = "The passages", body = super::schema::SearchResponseSchema),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn search(
    permit: Permit<Ask>,
    run: Run,
    Json(request): Json<wire::SearchRequest>,
) -> Result<Response, Problem> {
    let mut search = SearchRequest::new(permit.scope(request.collection)?, request.query);
    search.filter = request.filter;
    search.top_k = request.top_k.unwrap_or(search.top_k);
    search.offset = request.offset.unwrap_or_default();
    search.generation = request.generation;
    search.plan = request.plan.unwrap_or(search.plan);
    search.validate()?;
    let found = run.ctx.run(permit.retriever().search(&search, &run.ctx)).await?;
    Ok(axum::Json(found).into_response())
}
