//! A chat model behind the Messages interface.

use async_trait::async_trait;
use reqwest::header::HeaderName;

use super::codec::{Messages, messages_body};
use super::options::AnthropicOptions;
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::model::http::Transport;
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};

/// A chat model reached by `POST {base_url}/messages`, always streamed.
///
/// Passages are sent as quoted data. The answer's `[n]` are the model's own words: it makes no
/// [`ChatEvent::Citation`](crate::ChatEvent::Citation). Thinking is not asked for, and passed over if it comes.
/// Dropping the stream closes the connection, which stops the server's work.
#[derive(Debug)]
pub struct AnthropicModel {
    info: ModelInfo,
    options: AnthropicOptions,
    transport: Transport,
}

impl AnthropicModel {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// Invalid input: a malformed address, key, version or model name.
    pub fn new(options: AnthropicOptions) -> Result<Self> {
        if options.model.is_empty() {
            return Err(Error::invalid_input("the name of the chat model is empty"));
        }
        let transport = Transport::new(&options.base_url, &["messages"], options.idle_timeout)?
            .credential(HeaderName::from_static("x-api-key"), "", options.api_key.as_ref())?
            .header("anthropic-version", &options.version)?;
        let info = ModelInfo::new(&options.provider, &options.model, options.context_tokens)
            .capabilities(options.capabilities);
        Ok(Self { info, options, transport })
    }
}

#[async_trait]
impl ChatModel for AnthropicModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let body = messages_body(&self.options, &request)?;
        self.transport.stream::<Messages>(&body, ctx).await
    }
}
