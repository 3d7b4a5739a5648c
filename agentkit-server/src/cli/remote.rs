//! A running server: documents go to it, questions are asked of it.

mod ask;

use std::time::Duration;

use agentkit_core::{DocumentId, Error, ErrorKind, Result, RunContext, TenantScope};
use agentkit_rag::ingest::IngestTarget;
use agentkit_rag::{DocumentSummary, SourceDocument, UpsertReport};
use async_trait::async_trait;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::Secret;
use crate::documents::Upserted;
use crate::http::PutDocument;

/// How often a busy server is asked again.
const ATTEMPTS: u32 = 6;
/// The wait before asking again, if the server names none.
const WAIT: Duration = Duration::from_secs(1);
/// How long a server may take to say that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// The HTTP interface of a server.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    base: Url,
    client: reqwest::Client,
}

impl Remote {
    /// The server at `url`, shown `key`.
    pub(super) fn new(url: &str, key: Option<&Secret>) -> Result<Self> {
        let base = Url::parse(url).ok().filter(|base| !base.cannot_be_a_base());
        let base = base.ok_or_else(|| {
            Error::invalid_input(format!("{url:?} is not a server's address such as http://127.0.0.1:8080"))
        })?;
        // A server on this machine is not to be looked for through a proxy.
        let client = reqwest::Client::builder().no_proxy().default_headers(headers(key)?).build();
        let client = client.map_err(|error| Error::internal("start the HTTP client").with_source(error))?;
        Ok(Self { base, client })
    }

    /// Whether something answers there.
    pub(super) async fn lives(&self, ctx: &RunContext) -> bool {
        let Ok(url) = self.base.join("health/live") else { return false };
        let ctx = ctx.child().with_timeout(SIGN_OF_LIFE);
        let answer = async { self.client.get(url).send().await.map_err(|error| self.unreachable(error)) };
        ctx.run(answer).await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Sends until the server is not busy, and reads its answer.
    async fn send<T: DeserializeOwned>(
        &self,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<T> {
        let answer = self.answer(request).await?;
        if answer.status().is_success() {
            return answer.json().await.map_err(|error| self.unreachable(error));
        }
        Err(self.refused(answer).await)
    }

    /// Sends until the server is not busy.
    async fn answer(&self, request: impl Fn(&reqwest::Client) -> RequestBuilder) -> Result<Response> {
        let mut attempt = 1;
        loop {
            let sent = request(&self.client).send().await;
            let answer = sent.map_err(|error| self.unreachable(error))?;
            let busy =
                matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            if !busy || attempt == ATTEMPTS {
                return Ok(answer);
            }
            attempt += 1;
            tokio::time::sleep(retry_after(&answer).unwrap_or(WAIT)).await;
        }
    }

    /// The address of the list of documents.
    fn documents(&self, scope: &TenantScope) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("documents");
        }
        url.query_pairs_mut().append_pair("collection", scope.collection().as_str());
        url
    }

    fn url(&self, scope: &TenantScope, id: &DocumentId) -> Result<Url> {
        let mut url = self.documents(scope);
        let list = url.path().len();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(id.as_str());
        }
        // The URL's own rules drop an id that is `.` or `..`.
        if url.path().len() == list {
            return Err(Error::invalid_input(format!(
                "the document id {:?} cannot be sent in a URL",
                id.as_str()
            )));
        }
        Ok(url)
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let message = format!("talk to the server at {}; check that it is running", self.base);
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    }

    /// The server's problem document as the error it was.
    async fn refused(&self, answer: Response) -> Error {
        let status = answer.status();
        let problem: Value = answer.json().await.unwrap_or_default();
        let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("no reason was given");
        let kind = match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ErrorKind::InvalidInput
            }
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
            StatusCode::CONFLICT => ErrorKind::Conflict,
            StatusCode::INSUFFICIENT_STORAGE => ErrorKind::ResourceExhausted,
            StatusCode::INTERNAL_SERVER_ERROR => ErrorKind::Internal,
            _ => ErrorKind::Unavailable,
        };
        let advice = if kind == ErrorKind::Unauthorized { "; name a key with AGENTKIT_API_KEY" } else { "" };
        Error::new(kind, format!("the server at {} answered {status}: {detail}{advice}", self.base))
    }
}

/// What every request shows.
fn headers(key: Option<&Secret>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
        let mut value = value.map_err(|_| Error::invalid_input("the API key holds what no key holds"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

/// A page of the list of documents.
#[derive(Deserialize)]
struct Page {
    documents: Vec<DocumentSummary>,
}

#[async_trait]
impl IngestTarget for Remote {
    /// Stores the documents one after the other; those before a failure stay.
    async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<UpsertReport> {
        let mut sum = UpsertReport::default();
        for document in documents {
            let url = self.url(scope, &document.id)?;
            let document = PutDocument::from(document);
            let put = |client: &reqwest::Client| client.put(url.clone()).json(&document);
            let stored: Upserted = ctx.run(self.send(put)).await?;
            sum.documents += stored.documents;
            sum.unchanged += stored.unchanged;
            sum.chunks += stored.chunks;
            sum.embedded += stored.embedded;
            sum.generation = stored.generation;
        }
        Ok(sum)
    }

    /// Deletes the documents one after the other; one that is not there is no failure.
    async fn delete(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64> {
        let mut existed = 0;
        for id in ids {
            let url = self.url(scope, id)?;
            let answer = ctx.run(self.answer(|client| client.delete(url.clone()))).await?;
            match answer.status() {
                StatusCode::NOT_FOUND => {}
                status if status.is_success() => existed += 1,
                _ => return Err(self.refused(answer).await),
            }
        }
        Ok(existed)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&DocumentId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentSummary>> {
        let mut url = self.documents(scope);
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
        if let Some(after) = after {
            url.query_pairs_mut().append_pair("after", after.as_str());
        }
        let page: Page = ctx.run(self.send(|client| client.get(url.clone()))).await?;
        Ok(page.documents)
    }
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_one_segment_of_the_path() {
        let remote = Remote::new("http://127.0.0.1:1", None).unwrap();
        let url = |id: &str| remote.url(&TenantScope::local(), &DocumentId::new(id).unwrap());
        let path = |id: &str| url(id).unwrap().path().to_owned();
        assert_eq!(path("docs/a b.md"), "/documents/docs%2Fa%20b.md");
        assert_eq!(path("50%?#"), "/documents/50%25%3F%23");
        assert_eq!(path("documents"), "/documents/documents");
        assert_eq!(url("x").unwrap().query(), Some("collection=default"));
        assert!(url("..").unwrap_err().is_invalid_input());
        assert!(Remote::new("nonsense", None).unwrap_err().is_invalid_input());
    }
}
