//! `/v1`: the interface of OpenAI over the same agent, for clients that speak nothing else.
//!
//! A model is a collection: who asks model `manuals` asks the agent about the documents of the collection `manuals`. The
//! answers are made of the same events as those of `/chat`. Members of a request that the service does not know are
//! accepted, because these clients send many; what would change the form of the answer and cannot be done is refused.
//!
//! Tools of a client are handed to the chat model: an answer may be calls of them, and the client comes back with the results.

pub(super) mod chat;
mod chunks;
pub(super) mod embeddings;
mod error;
mod forms;
pub(super) mod keeping;
mod messages;
pub(super) mod models;
mod response_events;
pub(super) mod responses;
mod tools;
mod wire;

pub(super) use self::chat::completions;
pub(super) use self::embeddings::embeddings;
pub(super) use self::error::{name, render, speaks};
pub(super) use self::models::{model, models};
pub(super) use self::responses::responses;
pub(super) use self::wire::Chunk;
