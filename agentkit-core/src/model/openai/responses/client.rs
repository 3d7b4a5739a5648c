//! A chat model behind the Responses interface.

use async_trait::async_trait;

use super::codec::{Responses, responses_body};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::model::http::Transport;
use crate::model::openai::OpenAiOptions;
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};

/// A chat model reached by `POST {base_url}/responses`, always streamed.
///
/// Passages are sent as quoted data. The answer's `[n]` are the model's own words: it makes no
/// [`ChatEvent::Citation`](crate::ChatEvent::Citation). Reasoning is passed over. Stop sequences are refused as
/// unsupported: the interface has none. Dropping the stream closes the connection, which stops the server's work.
///
/// # Examples
/// ```
/// use agentkit_core::ChatModel;
/// use agentkit_core::model::openai::{OpenAiOptions, OpenAiResponsesModel};
///
/// # fn main() -> agentkit_core::Result<()> {
/// let options = OpenAiOptions::new("https://api.openai.com/v1", "gpt-5-mini").api_key("sk-123");
/// let model = OpenAiResponsesModel::new(options.context_tokens(400_000))?;
/// assert!(model.info().capabilities.tools);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OpenAiResponsesModel {
    info: ModelInfo,
    options: OpenAiOptions,
    transport: Transport,
}

impl OpenAiResponsesModel {
    /// Prepares calls; nothing is sent yet. The option `token_limit` has no meaning here.
    ///
    /// # Errors
    /// Invalid input: a malformed address, key or model name.
    pub fn new(options: OpenAiOptions) -> Result<Self> {
        if options.model.is_empty() {
            return Err(Error::invalid_input("the name of the chat model is empty"));
        }
        let transport = Transport::new(&options.base_url, &["responses"], options.idle_timeout)?
            .bearer(options.api_key.as_ref())?;
        let info = ModelInfo::new(&options.provider, &options.model, options.context_tokens)
            .capabilities(options.capabilities);
        Ok(Self { info, options, transport })
    }
}

#[async_trait]
impl ChatModel for OpenAiResponsesModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let body = responses_body(&self.options, &request)?;
        self.transport.stream::<Responses>(&body, ctx).await
    }
}
