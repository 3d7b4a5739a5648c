//! `/keys`: the API keys of a tenant, made, listed, rotated and revoked by its admins.

use std::collections::BTreeSet;
use std::time::Duration;

use agentkit_core::{CollectionName, Error, RunContext};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admit::Run;
use super::body::{Json, Parameters, without_nul};
use super::paging;
use super::problem::{Problem, ProblemKind};
use super::state::{AuditTarget, ManageKeys, Permit};
use crate::clock::Timestamp;
use crate::identity::{ApiKey, KeyRecord, KeySpec, Role};

/// How long a key goes on that is replaced, unless something else is asked for.
const OVERLAP_SECONDS: u64 = 3600;
/// Longest lifetime or overlap in seconds: ten years.
const MAX_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    /// What it may do.
    role: Role,
    /// Who uses it; left out, the key is a user of its own.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::IdSchema>)]
    user: Option<String>,
    /// The collections it may use; all that its maker may use if left out.
    #[serde(default)]
    #[schema(value_type = Option<Vec<super::schema::NameSchema>>, min_items = 1)]
    collections: Option<BTreeSet<CollectionName>>,
    /// What it is for; at most 256 bytes.
    #[serde(default)]
    #[schema(value_type = super::schema::NoteTextSchema)]
    label: String,
    /// How long it is good, at most ten years; for ever if left out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 315_360_000)]
    expires_in_seconds: Option<u64>,
}

/// How a key is to be replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKey {
    /// How long the replaced key goes on; an hour if left out.
    #[serde(default)]
    #[schema(maximum = 315_360_000)]
    overlap_seconds: Option<u64>,
}

/// Which keys to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListKeys {
    /// Start behind this id: the `next` of the page before.
    after: Option<String>,
    /// Most keys to list, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyEntry {
    /// The middle part of the key.
    id: String,
    /// `active`, `expired` or `revoked`.
    status: &'static str,
    /// Who uses it.
    user: String,
    /// What it may do.
    role: Role,
    /// The collections it may use; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    collections: Option<Vec<String>>,
    /// What it is for.
    label: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// When it stops being good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked: Option<Timestamp>,
    /// The key it was made in the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct NewKey {
    /// The key itself, which is shown only here.
    key: String,
    /// Everything else.
    #[serde(flatten)]
    entry: KeyEntry,
}

/// A page of the list of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyPage {
    /// The keys, by id.
    keys: Vec<KeyEntry>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Makes a key of the tenant. It is shown only in this answer.
#[utoipa::path(
    post,
    path = "/keys",
    tag = "keys",
    request_body = CreateKey,
    responses(
        (status = 201, description = "It is good from now on", body = NewKey),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    permit: Permit<ManageKeys>,
    run: Run,
    Json(asked): Json<CreateKey>,
) -> Result<Response, Problem> {
    without_nul("label", &asked.label)?;
    let mut spec = KeySpec::new(permit.tenant().tenant().clone(), asked.role);
    spec.subject = asked.user;
    spec.collections = within(&permit, asked.collections)?;
    spec.label = asked.label;
    spec.lifetime = asked.expires_in_seconds.map(|seconds| span(seconds, 1)).transpose()?;
    let (key, record) = run.ctx.run(permit.keys().create(&spec, &run.ctx)).await?;
    Ok(shown(&permit, &key, record))
}

/// The keys of the tenant by id, without their secrets, in pages.
#[utoipa::path(
    get,
    path = "/keys",
    tag = "keys",
    params(ListKeys),
    responses(
        (status = 200, description = "A page of the list", body = KeyPage),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    permit: Permit<ManageKeys>,
    run: Run,
    Parameters(page): Parameters<ListKeys>,
) -> Result<axum::Json<KeyPage>, Problem> {
    let limit = paging::length(page.limit)?;
    let mut found = run.ctx.run(some(&permit, page.after, limit + 1, &run.ctx)).await?;
    let next = paging::cut(&mut found, limit, |last| last.id.clone());
    let now = permit.now();
    Ok(axum::Json(KeyPage { keys: found.into_iter().map(|record| entry(record, now)).collect(), next }))
}

/// Makes a key in the place of another, which goes on for a while, so that no request is refused meanwhile.
#[utoipa::path(
    post,
    path = "/keys/{id}/rotate",
    tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    request_body = RotateKey,
    responses(
        (status = 201, description = "The new key is good from now on", body = NewKey),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rotate(
    permit: Permit<ManageKeys>,
    run: Run,
    Path(id): Path<String>,
    Json(asked): Json<RotateKey>,
) -> Result<Response, Problem> {
    let overlap = span(asked.overlap_seconds.unwrap_or(OVERLAP_SECONDS), 0)?;
    run.ctx.run(own(&permit, &id, &run.ctx)).await?;
    let (key, record) = run.ctx.run(permit.keys().rotate(&id, overlap, &run.ctx)).await?;
    Ok(shown(&permit, &key, record))
}

/// Makes a key worthless at once. Requests that have begun go on.
#[utoipa::path(
    delete,
    path = "/keys/{id}",
    tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "It is worthless"),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revoke(
    permit: Permit<ManageKeys>,
    run: Run,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    run.ctx.run(own(&permit, &id, &run.ctx)).await?;
    run.ctx.run(permit.keys().revoke(&id, &run.ctx)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The collections a new key may use: none that its maker may not.
fn within(
    permit: &Permit<ManageKeys>,
    asked: Option<BTreeSet<CollectionName>>,
) -> Result<Option<BTreeSet<CollectionName>>, Problem> {
    let Some(allowed) = permit.collections() else { return Ok(asked) };
    let asked = asked.unwrap_or_else(|| allowed.clone());
    match asked.iter().find(|name| !allowed.contains(*name)) {
        None => Ok(Some(asked)),
        Some(name) => {
            let detail = format!("a key for the collection {:?} is more than you have", name.as_str());
            Err(Problem::new(ProblemKind::Forbidden, detail))
        }
    }
}

/// Whether a key is one that this permit is about.
fn is_own(permit: &Permit<ManageKeys>, record: &KeyRecord) -> bool {
    let fits = |allowed: &BTreeSet<CollectionName>| {
        record.collections.as_ref().is_some_and(|names| names.is_subset(allowed))
    };
    record.tenant == *permit.tenant().tenant() && permit.collections().is_none_or(fits)
}

/// Checks that there is such a key, and that it is one of theirs.
async fn own(permit: &Permit<ManageKeys>, id: &str, ctx: &RunContext) -> Result<(), Error> {
    let missing = || Error::not_found(format!("there is no key {id:?}"));
    let found = permit.keys().get(id, ctx).await?.filter(|record| is_own(permit, record));
    found.map(drop).ok_or_else(missing)
}

/// At most `limit` keys of theirs after `after`.
async fn some(
    permit: &Permit<ManageKeys>,
    mut after: Option<String>,
    limit: usize,
    ctx: &RunContext,
) -> Result<Vec<KeyRecord>, Error> {
    let mut found = Vec::new();
    loop {
        let page = permit.keys().list(after.as_deref(), paging::MAX_LENGTH, ctx).await?;
        let Some(last) = page.last().map(|last| last.id.clone()) else { break };
        found.extend(page.into_iter().filter(|record| is_own(permit, record)));
        if found.len() >= limit {
            break;
        }
        after = Some(last);
    }
    found.truncate(limit);
    Ok(found)
}

fn span(seconds: u64, least: u64) -> Result<Duration, Error> {
    if (least..=MAX_SECONDS).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err(Error::invalid_input(format!(
        "{seconds} seconds are too few or too many; use {least} to {MAX_SECONDS}"
    )))
}

fn shown(permit: &Permit<ManageKeys>, key: &ApiKey, record: KeyRecord) -> Response {
    let target = AuditTarget(
        record
            .replaces
            .as_ref()
            .map_or_else(|| record.id.clone(), |replaced| format!("{replaced} by {}", record.id)),
    );
    let new = NewKey { key: key.expose(), entry: entry(record, permit.now()) };
    let mut response = (StatusCode::CREATED, axum::Json(new)).into_response();
    response.extensions_mut().insert(target);
    response
}

fn entry(record: KeyRecord, now: Timestamp) -> KeyEntry {
    KeyEntry {
        status: record.status(now),
        collections: record.collections.map(|names| names.into_iter().map(String::from).collect()),
        id: record.id,
        user: record.subject,
        role: record.role,
        label: record.label,
        created: record.created,
        expires: record.expires,
        revoked: record.revoked,
        replaces: record.replaces,
    }
}
