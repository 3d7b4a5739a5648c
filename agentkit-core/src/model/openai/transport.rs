//! One HTTP request and its answer, with everything bounded and every failure an error of this crate.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use super::codec::error_of_response;
use super::options::Secret;
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};

/// A server that is there takes its connections at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer to a failed request that is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A route of a server and how to call it.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    url: Url,
    authorization: Option<HeaderValue>,
    key: Option<Secret>,
}

impl Transport {
    /// Prepares calls of `route` below `base_url`.
    pub(super) fn new(
        base_url: &str,
        route: &[&str],
        key: Option<&Secret>,
        idle_timeout: Duration,
    ) -> Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(idle_timeout)
            // A redirect would carry the conversation, and within a host the key, to where nobody sent them.
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| Error::internal("prepare the http client").with_source(error))?;
        let authorization = key.map(bearer).transpose()?;
        Ok(Self { client, url: join(base_url, route)?, authorization, key: key.cloned() })
    }

    /// Sends `body` and waits for the head of a successful answer.
    pub(super) async fn post(
        &self,
        body: &Value,
        accept: &'static str,
        ctx: &RunContext,
    ) -> Result<Response> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(ACCEPT, accept)
            .header("traceparent", ctx.trace().traceparent())
            .json(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        ctx.run(async {
            let response = request.send().await.map_err(|error| failed("reach the model's server", error))?;
            if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
        })
        .await
    }

    async fn refused(&self, response: Response) -> Error {
        let status = response.status();
        if status.is_redirection() {
            return Error::invalid_input(format!(
                "the server answered with a redirect, status {}; state its final address as base_url",
                status.as_u16()
            ));
        }
        let wait = retry_after(response.headers());
        let body = bounded_body(response, MAX_ERROR_BYTES).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let body = self.key.as_ref().map_or_else(|| body.to_string(), |key| key.redact(&body));
        error_of_response(status.as_u16(), body.as_bytes(), wait)
    }
}

/// Whether an answer is a single JSON object rather than a stream of events.
pub(super) fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.trim_start().starts_with("application/json"))
}

/// The whole body, if it has at most `limit` bytes.
pub(super) async fn bounded_body(mut response: Response, limit: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(bytes) = next_bytes(&mut response).await? {
        if body.len() + bytes.len() > limit {
            let message = format!("the server's answer is longer than {limit} bytes");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// The next bytes of the body, `None` at its end.
pub(super) async fn next_bytes(response: &mut Response) -> Result<Option<Vec<u8>>> {
    let bytes = response.chunk().await.map_err(|error| failed("read the server's answer", error))?;
    Ok(bytes.map(Into::into))
}

/// A URL may hold what nobody should read in a log, so it is left out.
fn failed(attempt: &str, error: reqwest::Error) -> Error {
    let attempt = if error.is_timeout() { format!("{attempt} in time") } else { attempt.to_owned() };
    Error::new(ErrorKind::Unavailable, attempt).with_source(error.without_url())
}

fn bearer(key: &Secret) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| Error::invalid_input("the api key holds characters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn join(base_url: &str, route: &[&str]) -> Result<Url> {
    let malformed = |why: &str| {
        Error::invalid_input(format!("base_url must be an http or https address without a password: {why}"))
    };
    let mut url = Url::parse(base_url.trim()).map_err(|error| malformed(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(malformed(&format!("its scheme is {:?}", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("put the credential into api_key"));
    }
    match url.path_segments_mut() {
        Ok(mut segments) => segments.pop_if_empty().extend(route),
        Err(()) => return Err(malformed("it has no path")),
    };
    Ok(url)
}

/// The wait a server asks for in seconds or, as some do, in milliseconds; a date is not understood.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number(RETRY_AFTER.as_str()))?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_goes_behind_the_base_and_before_its_query() {
        for (base, expected) in [
            ("http://h:1/v1", "http://h:1/v1/chat/completions"),
            ("http://h/v1/", "http://h/v1/chat/completions"),
            ("https://h", "https://h/chat/completions"),
            ("https://h/d?api-version=1", "https://h/d/chat/completions?api-version=1"),
        ] {
            assert_eq!(join(base, &["chat", "completions"]).unwrap().as_str(), expected);
        }
        for bad in ["", "localhost:8080", "ftp://h", "http://user:pass@h/v1", "data:x"] {
            assert!(join(bad, &["x"]).unwrap_err().is_invalid_input(), "{bad}");
        }
    }

    #[test]
    fn the_wait_is_read_from_either_header() {
        for (name, value, expected) in [
            ("retry-after", "2", Some(2000)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "-1", None),
            ("retry-after", "1e400", None),
            ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_millis), "{name}: {value}");
        }
    }
}
