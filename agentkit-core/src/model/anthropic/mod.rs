//! Claude, by the Messages interface of Anthropic.
//!
//! [`codec`] turns requests into JSON and bytes into events and knows no network; [`AnthropicModel`] drives it over
//! HTTP. Nothing is tried again on its own: errors say whether a repetition can help and how long the server asked
//! to wait, and [wrappers](crate::resilience) decide.
//!
//! # Examples
//! ```
//! use agentkit_core::ChatModel;
//! use agentkit_core::model::anthropic::{AnthropicModel, AnthropicOptions};
//!
//! # fn main() -> agentkit_core::Result<()> {
//! let options = AnthropicOptions::new("claude-sonnet-4-5", "sk-ant-123").max_tokens(8192);
//! let model = AnthropicModel::new(options)?;
//! assert_eq!(model.info().provider, "anthropic");
//! # Ok(())
//! # }
//! ```

mod client;
pub mod codec;
mod options;

pub use self::client::AnthropicModel;
pub use self::options::AnthropicOptions;
