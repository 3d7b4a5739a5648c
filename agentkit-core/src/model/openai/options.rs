//! How to reach an OpenAI-compatible server and what to ask it for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Capabilities, Secret};

/// Tokens of context assumed of a model that says nothing else.
const CONTEXT_TOKENS: usize = 8192;
/// Longest text of OpenAI's embedding models, in tokens.
const EMBEDDING_TOKENS: usize = 8192;
/// Slow machines take minutes to read a long prompt before they say the first word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Texts in one request for embeddings.
const BATCH_TEXTS: usize = 64;
/// Tokens in one request for embeddings, by estimate; `OpenAI` allows 300,000.
const BATCH_TOKENS: usize = 100_000;

/// By which name a request states the most tokens to generate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// `max_tokens`, which every compatible server knows.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which the newer models of `OpenAI` itself demand.
    MaxCompletionTokens,
}

/// A chat model behind an OpenAI-compatible server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OpenAiOptions {
    /// Where the interface begins, for example `https://api.openai.com/v1`.
    pub base_url: String,
    /// The bearer token; local servers need none.
    pub api_key: Option<Secret>,
    /// The model's name as the server spells it.
    pub model: String,
    /// Who serves the model, for telemetry.
    pub provider: String,
    /// Most tokens a request and its answer may have together.
    pub context_tokens: usize,
    /// What the model can do.
    pub capabilities: Capabilities,
    /// By which name the token limit is stated.
    pub token_limit: TokenLimit,
    /// The server may be silent for this long.
    pub idle_timeout: Duration,
}

impl OpenAiOptions {
    /// A model with tools and a context of 8,192 tokens, served without a key.
    #[must_use]
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: None,
            model: model.into(),
            provider: "openai".into(),
            context_tokens: CONTEXT_TOKENS,
            capabilities: Capabilities::default().with_tools(),
            token_limit: TokenLimit::default(),
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// Presents this key.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Names who serves the model.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into();
        self
    }

    /// States the size of the context.
    #[must_use]
    pub fn context_tokens(mut self, tokens: usize) -> Self {
        self.context_tokens = tokens;
        self
    }

    /// States what the model can do.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// States the token limit by this name.
    #[must_use]
    pub fn token_limit(mut self, name: TokenLimit) -> Self {
        self.token_limit = name;
        self
    }

    /// Lets the server be silent for this long.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }
}

/// An embedding model behind an OpenAI-compatible server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OpenAiEmbedderOptions {
    /// Where the interface begins, for example `https://api.openai.com/v1`.
    pub base_url: String,
    /// The bearer token; local servers need none.
    pub api_key: Option<Secret>,
    /// The model's name as the server spells it.
    pub model: String,
    /// Components of a vector; another number from the server is an error.
    pub dimension: usize,
    /// Whether the server is asked for that dimension, which only some models can choose.
    pub request_dimension: bool,
    /// Longest text in tokens, by estimate; longer ones are cut before they are sent.
    pub max_tokens: usize,
    /// Texts in one request.
    pub batch_texts: usize,
    /// Tokens in one request, by estimate.
    pub batch_tokens: usize,
    /// Put before every question, for models that want it.
    pub query_prompt: String,
    /// Put before every passage, for models that want it.
    pub document_prompt: String,
    /// Distinguishes versions of a model that have the same name.
    pub revision: String,
    /// The server may be silent for this long.
    pub idle_timeout: Duration,
}

impl OpenAiEmbedderOptions {
    /// A model of this many dimensions, served without a key.
    #[must_use]
    pub fn new(base_url: impl Into<String>, model: impl Into<String>, dimension: usize) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: None,
            model: model.into(),
            dimension,
            request_dimension: false,
            max_tokens: EMBEDDING_TOKENS,
            batch_texts: BATCH_TEXTS,
            batch_tokens: BATCH_TOKENS,
            query_prompt: String::new(),
            document_prompt: String::new(),
            revision: String::new(),
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// Presents this key.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Asks the server for vectors of the stated dimension.
    #[must_use]
    pub fn request_dimension(mut self) -> Self {
        self.request_dimension = true;
        self
    }

    /// Cuts texts after this many tokens, by estimate.
    #[must_use]
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// Bounds one request by texts and by tokens, the latter by estimate.
    #[must_use]
    pub fn batch(mut self, texts: usize, tokens: usize) -> Self {
        self.batch_texts = texts;
        self.batch_tokens = tokens;
        self
    }

    /// Puts these before questions and passages.
    #[must_use]
    pub fn prompts(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        self.query_prompt = query.into();
        self.document_prompt = document.into();
        self
    }

    /// Distinguishes this version of the model.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = revision.into();
        self
    }

    /// Lets the server be silent for this long.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }
}
