//! How to reach Anthropic's interface and what to ask it for.

use std::time::Duration;

use crate::model::{Capabilities, Secret};

const BASE_URL: &str = "https://api.anthropic.com/v1";
/// The version of the interface that the codec speaks.
const VERSION: &str = "2023-06-01";
/// Tokens of context of the current models.
const CONTEXT_TOKENS: usize = 200_000;
/// The interface demands a limit; this one suits every model.
const MAX_TOKENS: u32 = 4096;
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A model behind the Messages interface.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnthropicOptions {
    /// Where the interface begins.
    pub base_url: String,
    /// The key, sent as `x-api-key`; gateways may need none.
    pub api_key: Option<Secret>,
    /// The model's name as the server spells it.
    pub model: String,
    /// Who serves the model, for telemetry.
    pub provider: String,
    /// Sent as `anthropic-version`.
    pub version: String,
    /// Most tokens a request and its answer may have together.
    pub context_tokens: usize,
    /// Most tokens to generate where the request does not say.
    pub max_tokens: u32,
    /// What the model can do.
    pub capabilities: Capabilities,
    /// The server may be silent for this long.
    pub idle_timeout: Duration,
}

impl AnthropicOptions {
    /// A model with tools and a context of 200,000 tokens, of which an answer has at most 4,096.
    #[must_use]
    pub fn new(model: impl Into<String>, api_key: impl Into<Secret>) -> Self {
        Self {
            base_url: BASE_URL.into(),
            api_key: Some(api_key.into()),
            model: model.into(),
            provider: "anthropic".into(),
            version: VERSION.into(),
            context_tokens: CONTEXT_TOKENS,
            max_tokens: MAX_TOKENS,
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

    /// States the size of the context.
    #[must_use]
    pub fn context_tokens(mut self, tokens: usize) -> Self {
        self.context_tokens = tokens;
        self
    }

    /// Limits answers where the request does not.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = tokens;
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
