//! `/jobs`: documents stored by a job, how far it is, and its end.

use agentkit_core::{Error, RunContext};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::watch;

use super::read::Sent;
use super::wire::{self, At, BeginJob, BeginJobForm, JobEntry, JobEvent, JobPage, ListJobs};
use super::work::Work;
use crate::http::admit::Run;
use crate::http::body::Parameters;
use crate::http::events::sse;
use crate::http::paging;
use crate::http::problem::Problem;
use crate::http::runs::routes::next_event;
use crate::http::state::{AuditTarget, Me, Permit, Write};
use crate::http::wire::{FollowRun, InCollection};
use crate::identity::random_hex;
use crate::jobs::{Ingest, JobStatus, SentDocument, SentStatus};

/// Stores many documents by a job, which begins when the answer is given.
///
/// The body is JSON, or a form of files, whose filenames are the ids of the documents. The answer does not say that
/// anything is stored: each document is stored when the job says so. What was sent waits in memory, so a job that the service
/// is stopped in ends as `interrupted`, and what it had not stored has to be sent again.
#[utoipa::path(
    post,
    path = "/jobs",
    tag = "jobs",
    params(InCollection),
    request_body(content(
        (BeginJob = "application/json"),
        (BeginJobForm = "multipart/form-data"),
    )),
    responses(
        (status = 202, description = "The job is written down", body = JobEntry),
        (status = "default", description = "A problem", body = crate::http::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(in crate::http) async fn begin(
    permit: Permit<Write>,
    run: Run,
    Parameters(within): Parameters<InCollection>,
    sent: Sent,
) -> Result<Response, Problem> {
    let scope = permit.scope(within.collection)?;
    let job = Ingest {
        id: format!("{}{}", permit.now().sortable(), random_hex::<10>()?),
        collection: scope.collection().clone(),
        pseudonym: permit.owner().person,
        status: JobStatus::Waiting,
        created: permit.now(),
        finished: None,
        documents: sent
            .sources
            .iter()
            .map(|source| SentDocument::new(source.id.clone(), SentStatus::Waiting))
            .collect(),
    };
    let jobs = permit.jobs().clone();
    let entered = jobs.enter(&scope, job.clone(), permit.root().child())?;
    run.ctx.run(jobs.begin(&scope, &job, &run.ctx)).await?;
    let trace = *run.ctx.trace();
    let tasks = permit.tasks().clone();
    tasks.spawn(Work { entered, permit, scope, trace }.run(sent.sources, sent.room));
    accepted(&job)
}

fn accepted(job: &Ingest) -> Result<Response, Problem> {
    let place = HeaderValue::from_str(&format!("/jobs/{}", job.id));
    let place = place.map_err(|_| Error::internal("name a job"))?;
    let target = AuditTarget(job.id.clone());
    let entry = axum::Json(JobEntry::whole(job));
    let mut response = (StatusCode::ACCEPTED, [(header::LOCATION, place)], entry).into_response();
    response.extensions_mut().insert(target);
    Ok(response)
}

/// The tenant's jobs that store documents, the newest first, in pages; the latest 100 are kept.
#[utoipa::path(
    get,
    path = "/jobs",
    tag = "jobs",
    params(ListJobs),
    responses(
        (status = 200, description = "A page of the list", body = JobPage),
        (status = "default", description = "A problem", body = crate::http::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(in crate::http) async fn list(
    permit: Permit<Write>,
    run: Run,
    Parameters(page): Parameters<ListJobs>,
) -> Result<axum::Json<JobPage>, Problem> {
    let limit = paging::length(page.limit)?;
    let all = run.ctx.run(permit.jobs().all(&permit.tenant(), &run.ctx)).await?;
    let behind = |job: &&Ingest| page.after.as_ref().is_none_or(|after| job.id < *after);
    let mut seen = all.iter().filter(|job| permit.scope(Some(job.collection.clone())).is_ok()).filter(behind);
    let jobs: Vec<JobEntry> = seen.by_ref().take(limit).map(JobEntry::in_list).collect();
    let next = seen.next().and(jobs.last()).map(|last| last.id.clone());
    Ok(axum::Json(JobPage { jobs, next }))
}

/// How far a job is, and what became of each of its documents.
///
/// Jobs that store documents are for everybody of the tenant who may change documents of their collection. One that erases a
/// person can be seen by everybody who knows its id, which only that person does.
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 200, description = "The job", body = JobEntry),
        (status = "default", description = "A problem", body = crate::http::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(in crate::http) async fn get(
    permit: Permit<Me>,
    run: Run,
    Path(id): Path<String>,
) -> Result<axum::Json<JobEntry>, Problem> {
    if let Ok(permit) = permit.and::<Write>()
        && let Some(job) = find(&permit, &id, &run.ctx).await?
    {
        return Ok(axum::Json(JobEntry::whole(&job)));
    }
    let erased =
        if is_id(&id) { permit.erasure().find(&permit.tenant(), &id, &run.ctx).await? } else { None };
    Ok(axum::Json(erased.map(JobEntry::from).ok_or_else(|| no_such_job(&id))?))
}

/// The events of a job behind the one that the client had last, those to come included.
///
/// What it had last is the header `Last-Event-ID`, or else `starting_after`; with neither it is told everything. The events of
/// a job are kept as long as its record. The stream ends with the job, or at the deadline of this request.
#[utoipa::path(
    get,
    path = "/jobs/{id}/events",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id"), FollowRun),
    responses(
        (status = 200, description = "The events", body = crate::http::schema::JobEventFrameSchema, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = crate::http::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(in crate::http) async fn events(
    permit: Permit<Write>,
    run: Run,
    Path(id): Path<String>,
    Parameters(asked): Parameters<FollowRun>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let next = next_event(&headers, &asked)?;
    // First who works on it, then its record: a job that ends in between is found by its record.
    let live = permit.jobs().live(&permit.tenant(), &id).map(|live| live.job.subscribe());
    let job = find(&permit, &id, &run.ctx).await?.ok_or_else(|| no_such_job(&id))?;
    let seen = live.unwrap_or_else(|| watch::Sender::new(job).subscribe());
    let ctx = run.ctx.clone();
    let events = follow(seen, next).take_until(async move { ctx.stopped().await });
    Ok(sse(events.map(move |event| {
        let _slot = &run;
        Event::default().id(event.seq.to_string()).event(event.kind.name()).json_data(event)
    })))
}

/// Stops a job; what is stored stays. Stopping one that is over changes nothing.
#[utoipa::path(
    post,
    path = "/jobs/{id}/cancel",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 204, description = "It is told to stop, or over"),
        (status = "default", description = "A problem", body = crate::http::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(in crate::http) async fn cancel(
    permit: Permit<Write>,
    run: Run,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let job = find(&permit, &id, &run.ctx).await?.ok_or_else(|| no_such_job(&id))?;
    if let Some(live) = permit.jobs().live(&permit.tenant(), &job.id) {
        live.stop();
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The job, if it is one of the tenant in a collection that is theirs.
async fn find(permit: &Permit<Write>, id: &str, ctx: &RunContext) -> Result<Option<Ingest>, Error> {
    if !is_id(id) {
        return Ok(None);
    }
    let found = ctx.run(permit.jobs().find(&permit.tenant(), id, ctx)).await?;
    Ok(found.filter(|job| permit.scope(Some(job.collection.clone())).is_ok()))
}

fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn no_such_job(id: &str) -> Error {
    Error::not_found(format!("there is no job {id:?}"))
}

/// The events from number `next` on, those that are still to come included.
fn follow(job: watch::Receiver<Ingest>, next: usize) -> impl Stream<Item = JobEvent> + Send {
    stream::unfold((job, next), |(mut job, next)| async move {
        loop {
            let there = wire::at(&job.borrow_and_update(), next);
            match there {
                At::Event(kind) => return Some((JobEvent { seq: next, kind }, (job, next + 1))),
                At::End => return None,
                // Whoever worked on it may be gone without a word; its record tells the rest.
                At::NothingYet => job.changed().await.ok()?,
            }
        }
    })
}
