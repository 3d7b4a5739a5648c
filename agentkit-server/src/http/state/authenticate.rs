//! Finds out who is asking, before anything is done for them.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{Error, ErrorKind};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::AppState;
use super::permit::Caller;
use crate::http::problem::{Problem, ProblemKind};
use crate::telemetry::Refusal;

/// How long checking a credential may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets a request pass whose credential is good, and tells what follows who is asking.
pub(in crate::http) async fn authenticate(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(place) = state.0.door.clone().try_acquire_owned() else { return crowded(&state).into_response() };
    let known = identify(&state, bearer(request.headers())).await;
    drop(place);
    match known {
        Ok(caller) => {
            request.extensions_mut().insert(Arc::new(caller));
            next.run(request).await
        }
        Err(problem) if problem.kind() == ProblemKind::Unauthorized => {
            let event = match state.refuse(&request) {
                Ok(event) => event,
                Err(too_many) => return too_many.into_response(),
            };
            match state.record_refusal(event).await {
                Ok(()) => problem.into_response(),
                Err(error) => Problem::from(error).into_response(),
            }
        }
        Err(problem) => problem.into_response(),
    }
}

/// Refuses before any work: as many credentials are being checked as can be.
fn crowded(state: &AppState) -> Problem {
    state.metrics().refused(Refusal::Concurrency);
    Problem::new(ProblemKind::Overloaded, "too many requests come at once; try again in a moment")
}

/// Whose credential this is.
pub(super) async fn identify(state: &AppState, credential: Option<&str>) -> Result<Caller, Problem> {
    let ctx = state.root().child().with_timeout(PATIENCE);
    let known = state.0.authenticator.authenticate(credential, &ctx).await;
    let principal = known.map_err(refused)?;
    let pseudonym = state.0.people.pseudonym(&principal.tenant, &principal.subject, &ctx).await?;
    Ok(Caller { principal, pseudonym })
}

/// The one credential that the request shows.
pub(in crate::http) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (value, more) = (shown.next()?, shown.next());
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    (more.is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| credential.trim())
}

fn refused(error: Error) -> Problem {
    match error.kind() {
        ErrorKind::Unauthorized => {}
        ErrorKind::DeadlineExceeded => {
            let detail = "the service is too busy to check the credential; try again in a moment";
            return Problem::new(ProblemKind::Overloaded, detail);
        }
        _ => return error.into(),
    }
    tracing::info!(reason = error.message(), "a credential was refused");
    Problem::new(ProblemKind::Unauthorized, error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn only_one_bearer_credential_counts() {
        assert_eq!(shown(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(shown(&["bEARER  abc "]).as_deref(), Some("abc"));
        for refused in [&[][..], &["Basic abc"], &["abc"], &["Bearer"], &["Bearer a", "Bearer b"]] {
            assert_eq!(shown(refused), None, "{refused:?}");
        }
    }
}
