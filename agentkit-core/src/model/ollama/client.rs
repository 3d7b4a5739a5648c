//! A chat model behind Ollama's own interface.

use async_trait::async_trait;

use super::codec::{OllamaChat, chat_body};
use super::options::OllamaOptions;
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::model::http::Transport;
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};

/// A chat model reached by `POST {base_url}/api/chat`, always streamed.
///
/// Passages are sent as quoted data. The answer's `[n]` are the model's own words: it makes no
/// [`ChatEvent::Citation`](crate::ChatEvent::Citation). Thinking is passed over if it comes. Dropping the stream
/// closes the connection, which stops the server's work.
#[derive(Debug)]
pub struct OllamaModel {
    info: ModelInfo,
    options: OllamaOptions,
    transport: Transport,
}

impl OllamaModel {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// Invalid input: a malformed address, key or model name.
    pub fn new(options: OllamaOptions) -> Result<Self> {
        if options.model.is_empty() {
            return Err(Error::invalid_input("the name of the chat model is empty"));
        }
        let transport = Transport::new(&options.base_url, &["api", "chat"], options.idle_timeout)?
            .bearer(options.api_key.as_ref())?;
        let info = ModelInfo::new(&options.provider, &options.model, options.context_tokens)
            .capabilities(options.capabilities);
        Ok(Self { info, options, transport })
    }
}

#[async_trait]
impl ChatModel for OllamaModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let body = chat_body(&self.options, &request)?;
        self.transport.stream::<OllamaChat>(&body, ctx).await
    }
}
