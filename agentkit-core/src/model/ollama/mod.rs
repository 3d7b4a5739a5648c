//! Models behind Ollama's own interface.
//!
//! It serves the OpenAI-compatible one as well, which cannot set the size of the context: Ollama then cuts long
//! conversations silently. [`codec`] turns requests into JSON and bytes into events and knows no network;
//! [`OllamaModel`] drives it over HTTP.
//!
//! # Examples
//! ```
//! use agentkit_core::ChatModel;
//! use agentkit_core::model::ollama::{OllamaModel, OllamaOptions};
//!
//! # fn main() -> agentkit_core::Result<()> {
//! let model = OllamaModel::new(OllamaOptions::new("llama3.2").context_tokens(32_768))?;
//! assert_eq!(model.info().context_tokens, 32_768);
//! # Ok(())
//! # }
//! ```

mod client;
pub mod codec;
mod options;

pub use self::client::OllamaModel;
pub use self::options::OllamaOptions;
