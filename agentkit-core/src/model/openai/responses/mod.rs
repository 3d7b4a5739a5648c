//! Chat models behind the Responses interface of `OpenAI` and of those who follow it.
//!
//! [`codec`] turns requests into JSON and bytes into events and knows no network; [`OpenAiResponsesModel`] drives
//! it over HTTP. The conversation is sent whole with every request; nothing is left with the server.

mod client;
pub mod codec;

pub use self::client::OpenAiResponsesModel;
