//! What a server's refusal means.

use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// Most characters of a server's own words that an error repeats.
const MAX_DETAIL: usize = 500;

/// The error of a response whose status says that the request failed.
///
/// A refused credential is unauthorized, a missing model not found, too many requests rate limited (a used-up
/// quota is resource exhausted, since waiting does not help), a time-out or a fault of the server unavailable,
/// and any other refusal invalid input.
#[must_use]
pub fn error_of_response(status: u16, body: &[u8], retry_after: Option<Duration>) -> Error {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let detail = parsed
        .as_ref()
        .and_then(detail_of)
        .map_or_else(|| String::from_utf8_lossy(body).into(), str::to_owned);
    let code = parsed.as_ref().and_then(code_of).unwrap_or_default();
    let kind = kind_of(status, &code);
    let message = format!("the server answered with status {status}{}", shown(&detail));
    let error = Error::new(kind, message);
    match retry_after {
        Some(wait) if error.is_retryable() => error.with_retry_after(wait),
        _ => error,
    }
}

/// The error in a body that came with a status of success, if it holds one.
#[must_use]
pub fn error_in_body(body: &[u8]) -> Option<Error> {
    serde_json::from_slice(body).ok().as_ref().and_then(error_in_frame)
}

/// The error of `what` not being in the provider's form: unavailable, since something in between is most likely to
/// blame.
#[must_use]
pub fn unreadable(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the server sent {what} that cannot be read"))
        .with_source(error)
}

/// The error in an object of the stream, if it is one.
#[must_use]
pub fn error_in_frame(object: &Value) -> Option<Error> {
    let is_error = object.get("error").is_some_and(|error| !error.is_null())
        || object.get("object").and_then(Value::as_str) == Some("error");
    if !is_error {
        return None;
    }
    let code = code_of(object).unwrap_or_default();
    let kind = code.parse().map_or_else(|_| kind_of_name(&code), |status| kind_of(status, ""));
    let detail = detail_of(object).unwrap_or_default();
    Some(Error::new(kind, format!("the server broke off its answer{}", shown(detail))))
}

fn kind_of(status: u16, code: &str) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::Unauthorized,
        404 => ErrorKind::NotFound,
        429 if code == "insufficient_quota" => ErrorKind::ResourceExhausted,
        429 => ErrorKind::RateLimited,
        501 => ErrorKind::Unsupported,
        408 | 425 | 500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::InvalidInput,
    }
}

/// Within a stream most errors are faults of the server; the request was accepted before.
fn kind_of_name(code: &str) -> ErrorKind {
    match code {
        "rate_limit_exceeded" | "rate_limit_error" => ErrorKind::RateLimited,
        "insufficient_quota" | "billing_error" => ErrorKind::ResourceExhausted,
        "invalid_request_error"
        | "context_length_exceeded"
        | "request_too_large"
        | "invalid_prompt"
        | "BadRequestError" => ErrorKind::InvalidInput,
        "authentication_error" | "permission_error" | "invalid_api_key" => ErrorKind::Unauthorized,
        "not_found_error" | "model_not_found" => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    }
}

/// `{"error": {"message"}}` of `OpenAI`, `{"error": "…"}` of Ollama, `{"message"}` of vLLM, `{"detail"}` of others.
fn detail_of(body: &Value) -> Option<&str> {
    let error = body.get("error").unwrap_or(body);
    error.as_str().or_else(|| ["message", "detail"].iter().find_map(|name| error.get(name)?.as_str()))
}

/// The most telling of an error's codes: `code`, then `type`; a numeric one as its digits.
fn code_of(body: &Value) -> Option<String> {
    let error = body.get("error").filter(|error| error.is_object()).unwrap_or(body);
    ["code", "type"].iter().find_map(|name| match error.get(name)? {
        Value::String(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    })
}

fn shown(detail: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let detail: String = detail.trim().chars().take(MAX_DETAIL).map(clean).collect();
    if detail.is_empty() { detail } else { format!(": {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_kinds_and_keep_the_servers_words() {
        let quota = r#"{"error":{"message":"no credit","code":"insufficient_quota"}}"#;
        for (status, body, kind, message) in [
            (400, r#"{"error":{"message":"too long"}}"#, ErrorKind::InvalidInput, "status 400: too long"),
            (401, r#"{"error":{"message":"bad key"}}"#, ErrorKind::Unauthorized, "bad key"),
            (404, r#"{"error":"model 'x' not found"}"#, ErrorKind::NotFound, "model 'x' not found"),
            (422, r#"{"detail":"unknown field"}"#, ErrorKind::InvalidInput, "unknown field"),
            (429, r#"{"message":"slow down"}"#, ErrorKind::RateLimited, "slow down"),
            (429, quota, ErrorKind::ResourceExhausted, "no credit"),
            (500, "", ErrorKind::Unavailable, "status 500"),
            (503, "<html>\nbusy</html>", ErrorKind::Unavailable, "<html> busy"),
        ] {
            let error = error_of_response(status, body.as_bytes(), Some(Duration::from_secs(3)));
            assert_eq!(error.kind(), kind, "{status} {body}");
            assert!(error.message().contains(message), "{error:?}");
            assert_eq!(error.retry_after().is_some(), error.is_retryable(), "{status} {body}");
        }
    }

    #[test]
    fn errors_in_a_stream_are_told_from_chunks() {
        for (json, kind) in [
            (r#"{"error":{"message":"x","type":"server_error","code":null}}"#, ErrorKind::Unavailable),
            (r#"{"error":{"message":"x","code":429}}"#, ErrorKind::RateLimited),
            (r#"{"error":"out of memory"}"#, ErrorKind::Unavailable),
            (
                r#"{"object":"error","message":"x","type":"BadRequestError","code":400}"#,
                ErrorKind::InvalidInput,
            ),
        ] {
            let object = serde_json::from_str(json).unwrap();
            assert_eq!(error_in_frame(&object).map(|error| error.kind()), Some(kind), "{json}");
        }
        let chunk = serde_json::json!({"object": "chat.completion.chunk", "choices": [], "error": null});
        assert!(error_in_frame(&chunk).is_none());
    }
}
