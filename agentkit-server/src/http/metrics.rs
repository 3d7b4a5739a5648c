//! `GET /metrics`: what Prometheus reads.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware, routing};

use super::problem::Problem;
use super::state::{AppState, Observe, Permit};
use super::{health, measure, trace};

/// How long to wait for what is looked at when somebody asks.
const PATIENCE: Duration = Duration::from_secs(2);
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The service's metrics in Prometheus' text format.
///
/// They are about all tenants, so they are for admins and auditors of the tenant that the machine itself is.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "text/plain"),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metrics(permit: Permit<Observe>) -> Result<Response, Problem> {
    answer(permit.service()?).await
}

/// The router of an address of its own, which asks for no credential: metrics and health alone.
pub(super) fn router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", routing::get(open))
        .merge(health::routes())
        .layer(middleware::from_fn(trace::trace))
        .layer(middleware::from_fn_with_state(state.clone(), measure::measure))
        .with_state(state)
}

async fn open(State(state): State<AppState>) -> Result<Response, Problem> {
    answer(&state).await
}

async fn answer(state: &AppState) -> Result<Response, Problem> {
    state.take_stock(&state.root().child().with_timeout(PATIENCE)).await;
    Ok(([(header::CONTENT_TYPE, TEXT)], state.metrics().text()?).into_response())
}
