//! An embedding model behind an OpenAI-compatible server.

use async_trait::async_trait;

use super::codec::{embeddings_body, parse_embeddings};
use super::options::OpenAiEmbedderOptions;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::{Error, Result};
use crate::model::http::{Transport, bounded_body};
use crate::model::wire::{estimate_tokens, truncate};

/// Bytes a component may have in JSON, white space included.
const COMPONENT_BYTES: usize = 40;
/// Bytes of an answer besides its components.
const ENVELOPE_BYTES: usize = 1024 * 1024;

/// An embedding model reached by `POST {base_url}/embeddings`.
///
/// The server's tokenizer is not at hand, so tokens are estimated, rather too many than too few, and longer
/// texts are cut at `max_tokens` by that estimate. Vectors are brought to norm 1 here. Large calls become
/// several requests, one after the other.
#[derive(Debug)]
pub struct OpenAiEmbedder {
    identity: EmbedderIdentity,
    options: OpenAiEmbedderOptions,
    transport: Transport,
}

impl OpenAiEmbedder {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// Invalid input: a malformed address or key, an empty name, or a size of zero.
    pub fn new(options: OpenAiEmbedderOptions) -> Result<Self> {
        let sizes = [options.dimension, options.max_tokens, options.batch_texts, options.batch_tokens];
        if options.model.is_empty() || sizes.contains(&0) {
            return Err(Error::invalid_input(
                "an embedder needs a model name, and a dimension, max_tokens and batch sizes above 0",
            ));
        }
        let transport = Transport::new(&options.base_url, &["embeddings"], options.idle_timeout)?
            .bearer(options.api_key.as_ref())?;
        let mut identity = EmbedderIdentity::new(&options.model, options.dimension, options.max_tokens);
        identity.pooling = "remote".into();
        identity.revision = revision(&options);
        Ok(Self { identity, options, transport })
    }

    /// What is sent for a text; servers refuse an empty one, so a blank stands for it.
    fn input(&self, side: EmbedSide, text: &str) -> String {
        let prompt = match side {
            EmbedSide::Query => &self.options.query_prompt,
            EmbedSide::Document => &self.options.document_prompt,
        };
        let whole = format!("{prompt}{text}");
        let cut = truncate(&whole, self.options.max_tokens);
        if cut.is_empty() { " ".into() } else { cut.into() }
    }

    async fn request(&self, texts: &[String], ctx: &RunContext) -> Result<Vec<Embedding>> {
        let dimension = self.options.dimension;
        let limit = texts.len().saturating_mul(dimension).saturating_mul(COMPONENT_BYTES);
        let body = embeddings_body(&self.options, texts);
        let response = self.transport.post(&body, "application/json", ctx).await?;
        let body = ctx.run(bounded_body(response, limit.saturating_add(ENVELOPE_BYTES))).await?;
        parse_embeddings(&body, texts.len(), dimension)
    }
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        &self.identity
    }

    fn count_tokens(&self, text: &str) -> usize {
        estimate_tokens(text)
    }

    fn familiarity(&self, _text: &str) -> f32 {
        1.0
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        ctx.check()?;
        let inputs: Vec<String> = texts.iter().map(|text| self.input(side, text)).collect();
        let mut embeddings = Vec::with_capacity(inputs.len());
        let mut rest = inputs.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_size(rest, &self.options));
            embeddings.extend(self.request(batch, ctx).await?);
            rest = later;
        }
        Ok(embeddings)
    }
}

/// How many of the texts fit into one request; at least one.
fn batch_size(texts: &[String], options: &OpenAiEmbedderOptions) -> usize {
    let mut tokens = 0;
    let fits = |text: &&String| {
        tokens += estimate_tokens(text);
        tokens <= options.batch_tokens
    };
    texts.iter().take(options.batch_texts).take_while(fits).count().max(1)
}

/// Everything that is known here and changes the vectors; the weights are known only to the server.
fn revision(options: &OpenAiEmbedderOptions) -> String {
    let (query, document) = (&options.query_prompt, &options.document_prompt);
    format!("{}|query={query:?}|document={document:?}|max_tokens={}", options.revision, options.max_tokens)
}
