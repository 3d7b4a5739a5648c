//! A chat model behind an OpenAI-compatible server.

use async_trait::async_trait;
use reqwest::Response;

use super::codec::{ChatDecoder, chat_body, error_in_body};
use super::options::OpenAiOptions;
use super::transport::{Transport, bounded_body, is_json, next_bytes};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatEvent, ChatModel, ChatRequest, ChatStream, ModelInfo};
use crate::stream::Emitter;

/// Longest answer read of a server that does not stream.
const MAX_JSON_BYTES: usize = 64 * 1024;

/// A chat model reached by `POST {base_url}/chat/completions`, always streamed.
///
/// Passages are sent as quoted data. The answer's `[n]` are the model's own words: it makes no
/// [`ChatEvent::Citation`]. Dropping the stream closes the connection, which stops the server's work.
#[derive(Debug)]
pub struct OpenAiModel {
    info: ModelInfo,
    options: OpenAiOptions,
    transport: Transport,
}

impl OpenAiModel {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// Invalid input: a malformed address, key or model name.
    pub fn new(options: OpenAiOptions) -> Result<Self> {
        if options.model.is_empty() {
            return Err(Error::invalid_input("the name of the chat model is empty"));
        }
        let route = ["chat", "completions"];
        let transport =
            Transport::new(&options.base_url, &route, options.api_key.as_ref(), options.idle_timeout)?;
        let info = ModelInfo::new(&options.provider, &options.model, options.context_tokens)
            .capabilities(options.capabilities);
        Ok(Self { info, options, transport })
    }
}

#[async_trait]
impl ChatModel for OpenAiModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let body = chat_body(&self.options, &request)?;
        let response = self.transport.post(&body, "text/event-stream", ctx).await?;
        if is_json(&response) {
            return Err(ctx.run(async { Ok(not_streamed(response).await) }).await?);
        }
        let ctx = ctx.clone();
        Ok(ChatStream::generate(move |out| async move { ctx.run(relay(response, out)).await }))
    }
}

/// Hands on events until the answer is over.
async fn relay(mut response: Response, out: Emitter<ChatEvent>) -> Result<()> {
    let mut decoder = ChatDecoder::new();
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
