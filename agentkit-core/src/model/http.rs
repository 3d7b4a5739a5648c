//! One HTTP request and its answer, with everything bounded and every failure an error of this crate.

use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use super::wire::{AnswerDecoder, Frames, Protocol, error_in_body, error_of_response};
use super::{ChatEvent, ChatStream, Secret};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::Emitter;

/// A server that is there takes its connections at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer to a failed request that is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Longest answer read of a server that does not stream.
const MAX_JSON_BYTES: usize = 64 * 1024;

/// A route of a server and how to call it.
#[derive(Debug)]
pub(crate) struct Transport {
    client: Client,
    url: Url,
    headers: HeaderMap,
    key: Option<Secret>,
}

impl Transport {
    /// Prepares calls of `route` below `base_url`.
    pub(crate) fn new(base_url: &str, route: &[&str], idle_timeout: Duration) -> Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(idle_timeout)
            // A redirect would carry the conversation, and within a host the key, to where nobody sent them.
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| Error::internal("prepare the http client").with_source(error))?;
        Ok(Self { client, url: join(base_url, route)?, headers: HeaderMap::new(), key: None })
    }

    /// Presents `key` as a bearer token, if there is one.
    #[cfg(any(feature = "openai", feature = "ollama", feature = "rerank"))]
    pub(crate) fn bearer(self, key: Option<&Secret>) -> Result<Self> {
        self.credential(reqwest::header::AUTHORIZATION, "Bearer ", key)
    }

    /// Presents `key` behind `prefix` in a header, if there is one.
    pub(crate) fn credential(mut self, name: HeaderName, prefix: &str, key: Option<&Secret>) -> Result<Self> {
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("{prefix}{}", key.expose())).map_err(|_| {
                Error::invalid_input("the api key holds characters that a header cannot carry")
            })?;
            value.set_sensitive(true);
            self.headers.insert(name, value);
            self.key = Some(key.clone());
        }
        Ok(self)
    }

    /// Sends `value` along with every call.
    #[cfg(feature = "anthropic")]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Result<Self> {
        let unfit = || Error::invalid_input(format!("{value:?} cannot be sent as the header {name}"));
        self.headers
            .insert(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(|_| unfit())?);
        Ok(self)
    }

    /// Sends `body` and hands on the answer as it comes.
    pub(crate) async fn stream<P>(&self, body: &Value, ctx: &RunContext) -> Result<ChatStream>
    where
        P: Protocol<Frames: Send> + Send + 'static,
    {
        let response = self.post(body, P::Frames::MEDIA_TYPE, ctx).await?;
        if is_json(&response) {
            return Err(ctx.run(async { Ok(not_streamed(response).await) }).await?);
        }
        let ctx = ctx.clone();
        Ok(ChatStream::generate(move |out| async move { ctx.run(relay::<P>(response, out)).await }))
    }

    /// Sends `body` and waits for the head of a successful answer.
    pub(crate) async fn post(
        &self,
        body: &Value,
        accept: &'static str,
        ctx: &RunContext,
    ) -> Result<Response> {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(ACCEPT, accept)
            .header("traceparent", ctx.trace().traceparent())
            .json(body);
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

/// Hands on events until the answer is over.
async fn relay<P: Protocol>(mut response: Response, out: Emitter<ChatEvent>) -> Result<()> {
    let mut decoder = AnswerDecoder::<P>::new();
    while !decoder.is_over() {
        match next_bytes(&mut response).await? {
            Some(bytes) => decoder.push(&bytes),
            None => decoder.finish(),
        }
        while let Some(event) = decoder.next_event() {
            out.emit(event?).await?;
        }
    }
    Ok(())
}

/// A success that is no stream is an error in disguise, or from a server that cannot stream.
async fn not_streamed(response: Response) -> Error {
    let body = match bounded_body(response, MAX_JSON_BYTES).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    error_in_body(&body).unwrap_or_else(|| {
        Error::new(ErrorKind::Unsupported, "the server does not stream its answers; agentkit needs it to")
    })
}

/// Whether an answer is a single JSON object rather than a stream of events.
fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.trim_start().starts_with("application/json"))
}

/// The whole body, if it has at most `limit` bytes.
pub(crate) async fn bounded_body(mut response: Response, limit: usize) -> Result<Vec<u8>> {
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
async fn next_bytes(response: &mut Response) -> Result<Option<Vec<u8>>> {
    let bytes = response.chunk().await.map_err(|error| failed("read the server's answer", error))?;
    Ok(bytes.map(Into::into))
}

/// A URL may hold what nobody should read in a log, so it is left out.
fn failed(attempt: &str, error: reqwest::Error) -> Error {
    let attempt = if error.is_timeout() { format!("{attempt} in time") } else { attempt.to_owned() };
    Error::new(ErrorKind::Unavailable, attempt).with_source(error.without_url())
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

/// The wait a server asks for: in seconds, as some do in milliseconds, or until a date by the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |name: &HeaderName| httpdate::parse_http_date(text(name)?).ok();
    let number = |text: Option<&str>| text?.parse::<f64>().ok();
    let ms = number(text(&HeaderName::from_static("retry-after-ms"))).map(|ms| ms / 1000.0);
    if let Some(seconds) = ms.or_else(|| number(text(&RETRY_AFTER))) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let now = date(&DATE).unwrap_or_else(SystemTime::now);
    Some(date(&RETRY_AFTER)?.duration_since(now).unwrap_or_default())
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
            ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", Some(90_000)),
            ("retry-after", "Wed, 21 Oct 2026 07:00:00 GMT", Some(0)),
            ("retry-after", "tomorrow", None),
        ] {
            let mut headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            headers.insert(DATE, "Wed, 21 Oct 2026 07:26:30 GMT".parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_millis), "{name}: {value}");
        }
    }
}
