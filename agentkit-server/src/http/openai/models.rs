//! `/v1/models`: the collections as models, and the embedding model.

use agentkit_core::{CollectionName, RunContext, TenantScope};
use axum::Json;
use axum::extract::Path;

use super::wire::{Model, Models};
use crate::http::admit::Run;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::state::{Ask, Permit};

/// Who all models belong to.
const OWNER: &str = "agentkit";

/// The models: one for each collection that may be asked, and the embedding model.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    responses(
        (status = 200, description = "The models", body = Models),
        (status = "default", description = "A problem", body = super::wire::ErrorDocument),
    ),
)]
pub(in crate::http) async fn models(permit: Permit<Ask>, run: Run) -> Result<Json<Models>, Problem> {
    let names = run.ctx.run(permit.collections(&run.ctx)).await?;
    let mut data: Vec<Model> = names.iter().map(|name| described(&permit, name.as_str())).collect();
    data.push(described(&permit, permit.embedding_model()));
    Ok(Json(Models { object: "list", data }))
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    tag = "openai",
    params(("id" = String, Path, description = "The model's id; slashes may stand as they are")),
    responses(
        (status = 200, description = "The model", body = Model),
        (status = "default", description = "A problem", body = super::wire::ErrorDocument),
    ),
)]
pub(in crate::http) async fn model(
    permit: Permit<Ask>,
    run: Run,
    Path(id): Path<String>,
) -> Result<Json<Model>, Problem> {
    if id != permit.embedding_model() {
        scope_of(&permit, &id, &run.ctx).await?;
    }
    Ok(Json(described(&permit, &id)))
}

/// The scope of the collection that a model stands for.
pub(super) async fn scope_of(
    permit: &Permit<Ask>,
    model: &str,
    ctx: &RunContext,
) -> Result<TenantScope, Problem> {
    let name = CollectionName::new(model).map_err(|_| unknown(model))?;
    let scope = permit.scope(Some(name)).map_err(|_| unknown(model))?;
    let is_home = scope.collection() == permit.tenant().collection();
    if is_home || ctx.run(permit.has(&scope, ctx)).await? {
        return Ok(scope);
    }
    Err(unknown(model))
}

/// The problem of a model that is not there, or not for this credential.
pub(super) fn unknown(model: &str) -> Problem {
    let detail = format!("the model {model:?} does not exist; GET /v1/models lists those that do");
    Problem::new(ProblemKind::NotFound, detail)
        .with_member("param", "model")
        .with_member("code", "model_not_found")
}

fn described(permit: &Permit<Ask>, id: &str) -> Model {
    Model { id: id.to_owned(), object: "model", created: permit.now().seconds(), owned_by: OWNER }
}
