//! Models behind the OpenAI-compatible HTTP interface: OpenAI itself, vLLM, Ollama, llama.cpp, LM Studio.
//!
//! [`codec`] turns requests into JSON and bytes into events and knows no network; [`OpenAiModel`] and
//! [`OpenAiEmbedder`] drive it over HTTP. [`responses`] does the same for the newer interface of that name. Nothing is tried again on its own: errors say whether a repetition
//! can help and how long the server asked to wait, and wrappers decide.
//!
//! # Examples
//! ```
//! use agentkit_core::ChatModel;
//! use agentkit_core::model::openai::{OpenAiModel, OpenAiOptions};
//!
//! # fn main() -> agentkit_core::Result<()> {
//! let options = OpenAiOptions::new("http://localhost:11434/v1", "llama3.2").context_tokens(32_768);
//! let model = OpenAiModel::new(options)?;
//! assert_eq!(model.info().name, "llama3.2");
//! # Ok(())
//! # }
//! ```

mod client;
pub mod codec;
mod embedder;
mod options;
pub mod responses;

pub use self::client::OpenAiModel;
pub use self::embedder::OpenAiEmbedder;
pub use self::options::{OpenAiEmbedderOptions, OpenAiOptions, TokenLimit};
pub use self::responses::OpenAiResponsesModel;
