//! `GET /collections`: which collections there are, and how much each holds.

use agentkit_core::CollectionName;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admit::Run;
use super::body::Parameters;
use super::paging;
use super::problem::Problem;
use super::state::{Ask, Permit};

/// Which collections to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListCollections {
    /// Start behind this name: the `next` of the page before.
    #[param(value_type = Option<super::schema::NameSchema>)]
    after: Option<CollectionName>,
    /// Most collections to list, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A collection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CollectionEntry {
    /// Its name.
    #[schema(value_type = String)]
    name: CollectionName,
    /// Its documents.
    documents: u64,
    /// The pieces they are searched by.
    chunks: u64,
    /// The state of its index; grows with every commit, and is 0 as long as nothing was written.
    generation: u64,
}

/// A page of the list of collections.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CollectionPage {
    /// The collections, by name.
    collections: Vec<CollectionEntry>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<CollectionName>,
}

/// The collections that the one who is asking may use: those that were written to, and `default`.
#[utoipa::path(
    get,
    path = "/collections",
    tag = "documents",
    params(ListCollections),
    responses(
        (status = 200, description = "A page of the list", body = CollectionPage),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    permit: Permit<Ask>,
    run: Run,
    Parameters(page): Parameters<ListCollections>,
) -> Result<axum::Json<CollectionPage>, Problem> {
    let limit = paging::length(page.limit)?;
    let mut names = run.ctx.run(permit.collections(&run.ctx)).await?;
    names.retain(|name| page.after.as_ref().is_none_or(|after| name > after));
    let next = paging::cut(&mut names, limit, CollectionName::clone);
    let mut collections = Vec::with_capacity(names.len());
    for name in names {
        let stats = run.ctx.run(permit.stats(&permit.scope(Some(name.clone()))?, &run.ctx)).await?;
        let (documents, chunks, generation) = (stats.documents, stats.chunks, stats.generation);
        collections.push(CollectionEntry { name, documents, chunks, generation });
    }
    Ok(axum::Json(CollectionPage { collections, next }))
}
