//! How to reach Ollama and what to ask it for.

use std::time::Duration;

use crate::model::{Capabilities, Secret};

/// Where Ollama listens unless it is told otherwise.
const BASE_URL: &str = "http://localhost:11434";
const CONTEXT_TOKENS: usize = 8192;
/// Slow machines take minutes to load a model and to read a long prompt.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A model that Ollama serves.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OllamaOptions {
    /// Where the server is.
    pub base_url: String,
    /// A bearer token, for servers behind a proxy.
    pub api_key: Option<Secret>,
    /// The model's name as `ollama list` spells it.
    pub model: String,
    /// Who serves the model, for telemetry.
    pub provider: String,
    /// Most tokens a request and its answer may have together; the server makes room for as many.
    pub context_tokens: usize,
    /// How long the model stays loaded after a call; `None` leaves it to the server.
    pub keep_alive: Option<Duration>,
    /// What the model can do.
    pub capabilities: Capabilities,
    /// The server may be silent for this long.
    pub idle_timeout: Duration,
}

impl OllamaOptions {
    /// A model with tools and a context of 8,192 tokens, on this machine.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            base_url: BASE_URL.into(),
            api_key: None,
            model: model.into(),
            provider: "ollama".into(),
            context_tokens: CONTEXT_TOKENS,
            keep_alive: None,
            capabilities: Capabilities::default().with_tools(),
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// Goes to another server.
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
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

    /// Sets the size of the context.
    #[must_use]
    pub fn context_tokens(mut self, tokens: usize) -> Self {
        self.context_tokens = tokens;
        self
    }

    /// Keeps the model loaded for this long after a call.
    #[must_use]
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = Some(time);
        self
    }

    /// States what the model can do.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Lets the server be silent for this long.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }
}
