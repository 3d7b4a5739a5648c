//! Answering from passages: an agent that retrieves, asks a model and cites, and a model that quotes.
//!
//! [`RagAgent`] is the way of a question: contextual query, retrieval, packing, model, citations, memory. It
//! works with any [`ChatModel`](agentkit_core::ChatModel). [`ExtractiveModel`] is the one that needs no weights
//! and no network: it answers with the best supported sentences of the passages, word for word, or says that
//! there are none.

mod agent;
mod cite;
mod extractive;
mod history;
mod pack;
mod reply;
mod run;
mod score;
mod sentence;
mod support;
mod terms;
mod turn;
mod values;
mod vectors;

pub use agent::RagAgent;
pub use extractive::ExtractiveModel;
pub use history::{CarriedWord, HistoryRewriter, QueryResolver};
pub use support::Support;
pub(crate) use terms::content_words;

/// What an answer says when the passages do not support one.
pub const REFUSAL: &str = "The sources do not say.";

/// Where the sentences, items, rows and blocks of code of `text` end, in order.
pub(crate) fn sentence_ends(text: &str) -> Vec<usize> {
    sentence::units(text).into_iter().map(|unit| unit.outer_end).collect()
}
