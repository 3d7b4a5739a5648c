//! Keeping responses: what one continues, and writing one down before its end is told.

use agentkit_core::{Message, Outcome, RunContext};
use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use super::error::{waits, wrong};
use super::response_events::Answer;
use crate::http::admit::Run;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::state::{Ask, Permit};
use crate::personal::StoredResponse;

/// Most messages of the input and before it, which leaves room for the instructions.
const MAX_MESSAGES: usize = 1000;

/// What it takes to keep a response.
pub(super) struct Keeper {
    pub(super) permit: Permit<Ask>,
    /// The messages of the input, the question last.
    pub(super) said: Vec<Message>,
    pub(super) previous: Option<String>,
    pub(super) ctx: RunContext,
}

impl Keeper {
    /// What was said before the input, of which there are `new` messages.
    pub(super) async fn before(&self, new: usize) -> Result<Vec<Message>, Problem> {
        let Some(previous) = &self.previous else { return Ok(Vec::new()) };
        let (most, when) = (MAX_MESSAGES.saturating_sub(new), (self.permit.now(), &self.ctx));
        let found = self.ctx.run(self.permit.personal().said_until(previous, most, when)).await?;
        found.ok_or_else(|| {
            let detail = format!("there is no response {previous:?}, or it is not kept any more");
            wrong("previous_response_id", detail).with_member("code", "previous_response_not_found")
        })
    }

    /// The whole response to `answer`, kept if it is to be.
    pub(super) async fn end(&self, answer: &mut Answer, outcome: Outcome) -> Result<Value, Problem> {
        let now = self.permit.now();
        answer.completes(now.seconds());
        let response = answer.ended(outcome).ok_or_else(waits)?;
        if !answer.is_stored() {
            return Ok(response);
        }
        let mut messages = self.said.clone();
        messages.extend(answer.message());
        let stored = StoredResponse { response, messages, previous: self.previous.clone() };
        let (personal, id) = (self.permit.personal(), answer.id());
        if self.ctx.run(personal.keep_response(&id, &stored, now, &self.ctx)).await? {
            return Ok(stored.response);
        }
        answer.is_not_stored();
        answer.ended(outcome).ok_or_else(waits)
    }
}

/// A response that was kept.
#[utoipa::path(
    get,
    path = "/v1/responses/{id}",
    tag = "openai",
    params(("id" = String, Path, description = "The response's id")),
    responses(
        (status = 200, description = "The response", body = Object),
        (status = "default", description = "A problem", body = super::wire::ErrorDocument),
    ),
)]
pub(in crate::http) async fn get(
    permit: Permit<Ask>,
    run: Run,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let personal = permit.personal();
    let found = run.ctx.run(personal.response(&id, permit.now(), &run.ctx)).await?;
    found.map(|stored| Json(stored.response)).ok_or_else(|| no_such_response(&id))
}

/// Deletes a response that was kept.
#[utoipa::path(
    delete,
    path = "/v1/responses/{id}",
    tag = "openai",
    params(("id" = String, Path, description = "The response's id")),
    responses(
        (status = 200, description = "It is deleted", body = Object),
        (status = "default", description = "A problem", body = super::wire::ErrorDocument),
    ),
)]
pub(in crate::http) async fn delete(
    permit: Permit<Ask>,
    run: Run,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let personal = permit.personal();
    let existed = run.ctx.run(personal.forget_response(&id, permit.now(), &run.ctx)).await?;
    if existed {
        return Ok(Json(json!({"id": id, "object": "response", "deleted": true})));
    }
    Err(no_such_response(&id))
}

fn no_such_response(id: &str) -> Problem {
    let detail = format!("there is no response {id:?}, or it is not kept any more");
    Problem::new(ProblemKind::NotFound, detail)
}
