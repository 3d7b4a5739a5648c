//! Rerankers behind HTTP, in the two shapes that servers speak.
//!
//! | shape | route | spoken by |
//! |---|---|---|
//! | [`RerankShape::Tei`] | `POST {base_url}/rerank` | Hugging Face's text-embeddings-inference |
//! | [`RerankShape::Cohere`] | `POST {base_url}/rerank` with a model's name | Cohere, from `/v2` on, Jina, vLLM, llama.cpp |
//!
//! Put [`resilience`](crate::resilience) around one to have calls limited and repeated.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Reranker;
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::model::Secret;
use crate::model::http::{Transport, bounded_body};
use crate::model::wire::truncate;

/// Passages in one request unless told otherwise.
const BATCH: usize = 32;
/// Tokens of a passage that are sent unless told otherwise, by estimate.
const MAX_TOKENS: usize = 512;
/// The server may be silent for this long unless told otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer besides its scores, and bytes a score may have, white space and an echoed document included.
const ENVELOPE_BYTES: usize = 64 * 1024;
const SCORE_BYTES: usize = 64 * 1024;

/// How a server of rerankers is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RerankShape {
    /// `{"query", "texts"}`, answered by a list of `{"index", "score"}`.
    Tei,
    /// `{"model", "query", "documents"}`, answered by `{"results": [{"index", "relevance_score"}]}`.
    Cohere,
}

/// A reranking model behind a server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HttpRerankerOptions {
    /// Where the interface begins, for example `https://api.cohere.com/v2`.
    pub base_url: String,
    /// The model's name; servers of the TEI shape serve one model and are not told.
    pub model: String,
    /// How the server is spoken to.
    pub shape: RerankShape,
    /// The bearer token; local servers need none.
    pub api_key: Option<Secret>,
    /// Passages in one request; more become several requests, one after the other.
    pub batch: usize,
    /// Longest passage in tokens, by estimate; longer ones are cut before they are sent.
    pub max_tokens: usize,
    /// The server may be silent for this long.
    pub idle_timeout: Duration,
}

impl HttpRerankerOptions {
    /// The one model of a server of the TEI shape; `model` is what explanations call it.
    #[must_use]
    pub fn tei(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self::new(base_url.into(), model.into(), RerankShape::Tei)
    }

    /// A model of a server of the Cohere shape.
    #[must_use]
    pub fn cohere(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self::new(base_url.into(), model.into(), RerankShape::Cohere)
    }

    fn new(base_url: String, model: String, shape: RerankShape) -> Self {
        let (batch, max_tokens, idle_timeout) = (BATCH, MAX_TOKENS, IDLE_TIMEOUT);
        Self { base_url, model, shape, api_key: None, batch, max_tokens, idle_timeout }
    }

    /// Presents this key.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sends at most this many passages in one request.
    #[must_use]
    pub fn batch(mut self, passages: usize) -> Self {
        self.batch = passages;
        self
    }

    /// Cuts passages after this many tokens, by estimate.
    #[must_use]
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// Lets the server be silent for this long.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }
}

/// A [`Reranker`] behind HTTP.
///
/// # Examples
/// ```
/// use agentkit_core::rerank::http::{HttpReranker, HttpRerankerOptions};
/// use agentkit_core::Reranker;
///
/// let options = HttpRerankerOptions::tei("http://127.0.0.1:8081", "bge-reranker-base");
/// assert_eq!(HttpReranker::new(options)?.name(), "bge-reranker-base");
/// # Ok::<_, agentkit_core::Error>(())
/// ```
#[derive(Debug)]
pub struct HttpReranker {
    options: HttpRerankerOptions,
    transport: Transport,
}

impl HttpReranker {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// Invalid input: a malformed address or key, an empty name, or a size of zero.
    pub fn new(options: HttpRerankerOptions) -> Result<Self> {
        if options.model.is_empty() || options.batch == 0 || options.max_tokens == 0 {
            return Err(Error::invalid_input(
                "a reranker needs a model name, and a batch and max_tokens above 0",
            ));
        }
        let transport = Transport::new(&options.base_url, &["rerank"], options.idle_timeout)?
            .bearer(options.api_key.as_ref())?;
        Ok(Self { options, transport })
    }

    fn body(&self, query: &str, passages: &[String]) -> Value {
        // Servers refuse an empty text, so a blank stands for it.
        let sent = |text: &str| {
            let cut = truncate(text, self.options.max_tokens);
            if cut.is_empty() { " ".to_owned() } else { cut.to_owned() }
        };
        let (query, texts): (_, Vec<String>) =
            (sent(query), passages.iter().map(|text| sent(text)).collect());
        match self.options.shape {
            RerankShape::Tei => json!({ "query": query, "texts": texts, "truncate": true }),
            RerankShape::Cohere => json!({
                "model": self.options.model, "query": query, "top_n": texts.len(), "documents": texts,
            }),
        }
    }

    async fn batch(&self, query: &str, passages: &[String], ctx: &RunContext) -> Result<Vec<f32>> {
        let body = self.body(query, passages);
        let response = self.transport.post(&body, "application/json", ctx).await?;
        let limit = ENVELOPE_BYTES + passages.len() * SCORE_BYTES;
        let body = ctx.run(bounded_body(response, limit)).await?;
        self.options.shape.scores(&body, passages.len())
    }
}

#[async_trait]
impl Reranker for HttpReranker {
    fn name(&self) -> &str {
        &self.options.model
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        ctx.check()?;
        let mut scores = Vec::with_capacity(passages.len());
        for batch in passages.chunks(self.options.batch) {
            scores.extend(self.batch(query, batch, ctx).await?);
        }
        Ok(scores)
    }
}

#[derive(Deserialize)]
struct Scored {
    index: usize,
    #[serde(alias = "relevance_score")]
    score: f32,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Scored>,
}

impl RerankShape {
    /// The scores of an answer in the order of the passages: servers answer best first.
    fn scores(self, body: &[u8], passages: usize) -> Result<Vec<f32>> {
        let parsed = match self {
            Self::Tei => serde_json::from_slice::<Vec<Scored>>(body),
            Self::Cohere => serde_json::from_slice::<Results>(body).map(|answer| answer.results),
        };
        let answered = parsed
            .map_err(|error| Error::internal("read the scores of the reranking server").with_source(error))?;
        let mut scores: Vec<Option<f32>> = vec![None; passages];
        for Scored { index, score } in answered {
            let place = scores.get_mut(index).filter(|place| place.is_none() && score.is_finite());
            let place = place.ok_or_else(|| {
                Error::internal(format!(
                    "the reranking server scored passage {index} of {passages} by {score}"
                ))
            })?;
            *place = Some(score);
        }
        let missing = || Error::internal("the reranking server left passages without a score");
        scores.into_iter().map(|score| score.ok_or_else(missing)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_put_in_the_order_of_the_passages() {
        let tei = br#"[{"index":1,"score":0.9,"text":"b"},{"index":0,"score":0.1}]"#;
        assert_eq!(RerankShape::Tei.scores(tei, 2).unwrap(), [0.1, 0.9]);
        let cohere =
            br#"{"id":"x","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]}"#;
        assert_eq!(RerankShape::Cohere.scores(cohere, 2).unwrap(), [0.1, 0.9]);
    }

    #[test]
    fn answers_that_do_not_fit_the_question_are_refused() {
        for body in [
            "",
            "{}",
            "[]",
            r#"[{"index":0,"score":0.1}]"#,
            r#"[{"index":0,"score":0.1},{"index":0,"score":0.2}]"#,
            r#"[{"index":0,"score":0.1},{"index":2,"score":0.2}]"#,
            r#"[{"index":0,"score":1e99},{"index":1,"score":0.2}]"#,
            r#"[{"index":-1,"score":1}]"#,
        ] {
            assert!(RerankShape::Tei.scores(body.as_bytes(), 2).is_err(), "{body}");
        }
    }
}
