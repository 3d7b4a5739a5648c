//! Whether the service lives, and whether it can answer.

use std::time::Duration;

use axum::extract::State;
use axum::{Json, Router, routing};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemKind};
use super::state::{AppState, Dependency};

/// How long a dependency may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state of the service.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Health {
    /// `live`, `started` or `ready`.
    status: String,
    /// What the service needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<Dependency>,
}

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/health/live", routing::get(live))
        .route("/health/ready", routing::get(ready))
        .route("/health/startup", routing::get(startup))
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn live() -> Json<Health> {
    Json(Health { status: "live".into(), dependencies: Vec::new() })
}

/// Whether the service has been able to answer questions since it started; it stays so.
#[utoipa::path(
    get,
    path = "/health/startup",
    tag = "health",
    security(()),
    security(()),
    responses(
        (status = 200, description = "Started", body = Health),
        (status = 503, description = "Still starting", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn startup(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    if !state.has_started() {
        usable(&state).await?;
    }
    Ok(Json(Health { status: "started".into(), dependencies: Vec::new() }))
}

/// Whether the service can answer questions; names each thing it needs.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "health",
    security(()),
    security(()),
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "Not ready", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ready(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    let dependencies = usable(&state).await?;
    Ok(Json(Health { status: "ready".into(), dependencies }))
}

/// Everything the service needs, if all of it can be used.
async fn usable(state: &AppState) -> Result<Vec<Dependency>, Problem> {
    let dependencies = state.dependencies(&state.root().child().with_timeout(PATIENCE)).await;
    if state.is_draining() {
        return Err(Problem::new(ProblemKind::ShuttingDown, "the service is shutting down"));
    }
    let failing: Vec<&str> = dependencies.iter().filter_map(Dependency::failed).collect();
    if !failing.is_empty() {
        let problem = Problem::new(ProblemKind::Unavailable, format!("not ready: {}", failing.join(", ")));
        let dependencies = serde_json::to_value(&dependencies).unwrap_or_default();
        return Err(problem.with_member("dependencies", dependencies));
    }
    Ok(dependencies)
}
