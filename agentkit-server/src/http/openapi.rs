//! `GET /openapi.json`: the description of the interface, made from the handlers and their types.

mod precise;

use axum::Json;
use utoipa::OpenApi;

use self::precise::{Credential, Strict};

/// The description of the HTTP interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "agentkit",
        description = "Ask your own documents, get a cited answer. Every error is a problem document (RFC 9457)."
    ),
    paths(
        super::chat::chat,
        super::socket::connect,
        super::runs::routes::events,
        super::runs::routes::stop,
        super::search::search,
        super::mcp::mcp,
        super::openai::models::models,
        super::openai::models::model,
        super::openai::chat::completions,
        super::openai::responses::responses,
        super::openai::keeping::get,
        super::openai::keeping::delete,
        super::openai::embeddings::embeddings,
        super::collections::list,
        super::documents::list,
        super::documents::get,
        super::documents::put,
        super::documents::delete,
        super::documents::delete_matching,
        super::sessions::list,
        super::sessions::get,
        super::sessions::rename,
        super::sessions::delete,
        super::sessions::export,
        super::feedback::give,
        super::feedback::list,
        super::keys::list,
        super::keys::create,
        super::keys::rotate,
        super::keys::revoke,
        super::me::get,
        super::me::export,
        super::me::delete,
        super::jobs::routes::begin,
        super::jobs::routes::list,
        super::jobs::routes::get,
        super::jobs::routes::events,
        super::jobs::routes::cancel,
        super::audit::list,
        super::metrics::metrics,
        super::health::live,
        super::health::ready,
        super::health::startup,
        openapi,
    ),
    components(schemas(super::schema::AgentEventSchema, super::jobs::wire::JobEvent, super::openai::Chunk)),
    modifiers(&Credential, &Strict)
)]
struct Description;

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "description",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}
