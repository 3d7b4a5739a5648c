//! `/feedback`: what people think of the answers.

use agentkit_core::Error;

use super::admit::Run;
use super::body::{Json, Parameters, without_nul};
use super::paging;
use super::problem::Problem;
use super::state::{Own, Permit, Review};
use super::wire::{FeedbackPage, GiveFeedback, ListFeedback, ReviewedFeedback};
use crate::personal::Feedback;
use crate::records::Kept;

/// Longest reason in bytes.
const MAX_REASON_BYTES: usize = 256;
/// Longest comment in bytes.
const MAX_COMMENT_BYTES: usize = 16 * 1024;

/// Says what one thinks of an answer; said again, it takes the place of what was said before.
#[utoipa::path(
    post,
    path = "/feedback",
    tag = "feedback",
    request_body = GiveFeedback,
    responses(
        (status = 200, description = "It is stored", body = Feedback),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn give(
    permit: Permit<Own>,
    run: Run,
    Json(given): Json<GiveFeedback>,
) -> Result<axum::Json<Feedback>, Problem> {
    check(&given)?;
    let turn = given.turn.to_ascii_lowercase();
    if !run.ctx.run(permit.was_answered(&turn, &run.ctx)).await? {
        let message =
            format!("there is no answer to you with the trace_id {turn:?}, or no record of it any more");
        return Err(Error::not_found(message).into());
    }
    let GiveFeedback { session_id, rating, reason, comment, .. } = given;
    let feedback = Feedback { turn, session_id, rating, reason, comment, at: permit.now() };
    let personal = permit.personal();
    run.ctx.run(personal.rate(&feedback, &run.ctx)).await?;
    Ok(axum::Json(feedback))
}

/// What everybody of the tenant thinks, by person and answer, in pages. People stand under pseudonyms.
#[utoipa::path(
    get,
    path = "/feedback",
    tag = "feedback",
    params(ListFeedback),
    responses(
        (status = 200, description = "A page of the list", body = FeedbackPage),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    permit: Permit<Review>,
    run: Run,
    Parameters(page): Parameters<ListFeedback>,
) -> Result<axum::Json<FeedbackPage>, Problem> {
    let limit = paging::length(page.limit)?;
    let listed = permit.feedback(page.after.unwrap_or_default(), limit, &run.ctx);
    let found = run.ctx.run(listed).await?;
    // The store lists no more than the longest page, so that there is more shows only from a full one.
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.id.clone());
    let reviewed = |kept: Kept<Feedback>| {
        let actor = kept.id.split('/').next().unwrap_or_default().to_owned();
        ReviewedFeedback { actor, feedback: kept.value }
    };
    Ok(axum::Json(FeedbackPage { feedback: found.into_iter().map(reviewed).collect(), next }))
}

fn check(given: &GiveFeedback) -> Result<(), Error> {
    let is_trace = given.turn.len() == 32 && given.turn.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_trace {
        return Err(Error::invalid_input("turn must be the trace_id of an answer, 32 hexadecimal digits"));
    }
    for (what, text, most) in
        [("reason", &given.reason, MAX_REASON_BYTES), ("comment", &given.comment, MAX_COMMENT_BYTES)]
    {
        let text = text.as_deref().unwrap_or_default();
        if text.len() > most {
            return Err(Error::invalid_input(format!("the {what} may have {most} bytes at most")));
        }
        without_nul(what, text)?;
    }
    Ok(())
}
