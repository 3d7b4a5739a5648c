//! `/me`: who is asking, everything that is kept of them, and its end.

use agentkit_core::Error;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::admit::Run;
use super::jobs::wire::JobEntry;
use super::problem::Problem;
use super::state::{Me, Permit};
use super::wire::AboutMe;

/// Lines of an export that wait to be sent.
const AHEAD: usize = 16;

/// Who is asking, and what they may do.
#[utoipa::path(
    get,
    path = "/me",
    tag = "me",
    responses(
        (status = 200, description = "Who is asking", body = AboutMe),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(permit: Permit<Me>, _run: Run) -> axum::Json<AboutMe> {
    axum::Json(about(&permit))
}

/// Everything that is kept of the one who is asking: one JSON object a line, each with its `type`.
///
/// The first is `person`, then come `session`, `feedback`, `document`, `job`, `response` and `audit`, and at last `end`, or `error` if not
/// everything could be read.
#[utoipa::path(
    get,
    path = "/me/export",
    tag = "me",
    responses(
        (status = 200, description = "The lines", body = String, content_type = "application/x-ndjson"),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn export(permit: Permit<Me>, run: Run) -> Response {
    let (lines, written) = mpsc::channel(AHEAD);
    tokio::spawn(write(permit, run, lines));
    let body = Body::from_stream(ReceiverStream::new(written).map(Ok::<_, std::convert::Infallible>));
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"export.ndjson\""),
    ];
    (headers, body).into_response()
}

/// The first line of an export.
#[derive(Serialize)]
struct Person {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    about: AboutMe,
}

/// Writes the lines; ends when they are read, or nobody reads them any more, or the time of the request is over.
async fn write(permit: Permit<Me>, run: Run, lines: mpsc::Sender<String>) {
    let person = json!(Person { kind: "person", about: about(&permit) });
    // A reader that is gone is noticed by the next line.
    let _ = lines.send(format!("{person}\n")).await;
    let personal = permit.personal();
    let last = match run.ctx.run(personal.export(permit.audit_log(), &lines, &run.ctx)).await {
        Ok(()) => json!({"type": "end"}),
        Err(error) => json!({"type": "error", "kind": error.kind(), "message": error.message()}),
    };
    let _ = lines.send(format!("{last}\n")).await;
}

/// Forgets the one who is asking, and erases what is kept of them in a job.
///
/// When the answer arrives, nothing is known any more to be theirs, and the job survives a crash. It removes
/// conversations, feedback, and the documents they uploaded. Records of the audit trail stay, under a pseudonym that is
/// nobody's.
#[utoipa::path(
    delete,
    path = "/me",
    tag = "me",
    responses(
        (status = 202, description = "The job is written down", body = JobEntry),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(permit: Permit<Me>, run: Run) -> Result<Response, Problem> {
    let erasure = permit.erasure();
    let job = run.ctx.run(permit.forget_me(&run.ctx)).await?;
    permit.forget_now();
    let (tenant, id) = (permit.tenant().tenant().clone(), job.id.clone());
    let place = HeaderValue::from_str(&format!("/jobs/{id}")).map_err(|_| Error::internal("name a job"))?;
    let root = permit.root().child();
    tokio::spawn(async move {
        if let Err(error) = erasure.run(&tenant, &id, &root).await {
            tracing::warn!(error = error.chain(), job = id, "an erasure is held up until the next start");
        }
    });
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, place)], axum::Json(JobEntry::from(job))).into_response())
}

fn about(permit: &Permit<Me>) -> AboutMe {
    let principal = permit.principal();
    AboutMe {
        tenant: principal.tenant.to_string(),
        user: principal.subject.clone(),
        role: principal.role,
        collections: principal.collections.clone().map(|names| names.into_iter().map(String::from).collect()),
    }
}
