//! The embedder contract: text in, vectors out, with an identity that an index can hold it to.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::RunContext;
use crate::error::{Error, Result};

/// Turns text into vectors whose cosine tells how close two meanings are.
///
/// # Contract for implementers
/// - One embedding per text, in order; each has [`EmbedderIdentity::dimension`] finite components and, if the
///   identity says `normalized`, Euclidean norm 1 within 1e-3.
/// - Any UTF-8 text is accepted: the empty text, and text longer than `max_tokens`, which is truncated.
/// - A text's embedding does not depend on the other texts of the call, beyond 1e-4 a component.
/// - No texts give no embeddings.
/// - What [`familiarity`](Embedder::familiarity) gives lies within 0 and 1.
/// - The call ends with an error of [`is_stopped`](crate::Error::is_stopped) soon after `ctx` stops; blocking
///   work runs off the async threads and stops too.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// What makes two embedders interchangeable; constant over its life.
    fn identity(&self) -> &EmbedderIdentity;

    /// Tokens `text` has for this model, special tokens left out; an estimate if the tokenizer is not at hand.
    /// A text never counts fewer tokens than a part of it that ends between two words.
    fn count_tokens(&self, text: &str) -> usize;

    /// How well the model knows the words of `text`, 0 to 1: 1 if each is a token of its own, less the more pieces its vocabulary
    /// cuts them into, 0 if it has none of them. [`Fusion::Relative`](crate::Fusion::Relative) trusts the text's vector that much.
    ///
    /// 1 from an implementation that cannot know. One that wraps another embedder asks that.
    fn familiarity(&self, text: &str) -> f32;

    /// Embeds `texts` for the given side of retrieval.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; nothing is kept.
    ///
    /// # Errors
    /// Unavailable, rate limited, unauthorized, stopped, or internal.
    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>>;
}

/// Which side of retrieval a text stands on; some models use different prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbedSide {
    /// A question.
    Query,
    /// A passage to be found.
    Document,
}

/// What makes two embedders interchangeable. An index stores it and refuses any other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbedderIdentity {
    /// The model's name, for example `sentence-transformers/all-MiniLM-L6-v2`.
    pub name: String,
    /// Components of a vector.
    pub dimension: usize,
    /// Longest text in tokens that is not truncated.
    pub max_tokens: usize,
    /// How token vectors become one vector, for example `mean` or `cls`.
    pub pooling: String,
    /// Whether vectors have norm 1.
    pub normalized: bool,
    /// Hash of everything else that changes the vectors: weights, tokenizer, prompts.
    pub revision: String,
}

impl EmbedderIdentity {
    /// An identity with mean pooling and normalised vectors; adjust the fields for other models.
    #[must_use]
    pub fn new(name: impl Into<String>, dimension: usize, max_tokens: usize) -> Self {
        Self {
            name: name.into(),
            dimension,
            max_tokens,
            pooling: "mean".into(),
            normalized: true,
            revision: String::new(),
        }
    }
}

/// A vector without NaN or infinite components.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Accepts `components` if all are finite.
    ///
    /// # Errors
    /// Invalid input, naming the first component that is not finite.
    pub fn new(components: Vec<f32>) -> Result<Self> {
        match components.iter().position(|c| !c.is_finite()) {
            None => Ok(Self(components)),
            Some(at) => Err(Error::invalid_input(format!("component {at} of an embedding is not finite"))),
        }
    }

    /// The components.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The components, owned.
    #[must_use]
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }
}
