//! `POST /search`: passages without an answer.

use agentkit_core::SearchRequest;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::admit::Run;
use super::body::Json;
use super::problem::Problem;
use super::scope::Scope;
use super::state::AppState;
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
    State(state): State<AppState>,
    scope: Scope,
    run: Run,
    Json(request): Json<wire::SearchRequest>,
) -> Result<Response, Problem> {
    let mut search = SearchRequest::new(scope.in_collection(request.collection), request.query);
    search.filter = request.filter;
    search.top_k = request.top_k.unwrap_or(search.top_k);
    search.offset = request.offset.unwrap_or_default();
    search.generation = request.generation;
    search.plan = request.plan.unwrap_or(search.plan);
    search.validate()?;
    let found = run.ctx.run(state.services().retriever.search(&search, &run.ctx)).await?;
    Ok(axum::Json(found).into_response())
}
