//! The embedding model that is not there: an identity to open an index with.

use agentkit_core::{EmbedSide, Embedder, EmbedderIdentity, Embedding, Error, ErrorKind, Result, RunContext};
use async_trait::async_trait;

/// Stands for the model an index was made with; refuses to embed.
#[derive(Debug, Clone)]
pub(crate) struct AbsentModel {
    identity: EmbedderIdentity,
}

impl AbsentModel {
    pub(crate) fn new(identity: EmbedderIdentity) -> Self {
        Self { identity }
    }
}

#[async_trait]
impl Embedder for AbsentModel {
    fn identity(&self) -> &EmbedderIdentity {
        &self.identity
    }

    /// About four bytes make a token, as is usual in English.
    fn count_tokens(&self, text: &str) -> usize {
        text.len().div_ceil(4)
    }

    fn familiarity(&self, _text: &str) -> f32 {
        1.0
    }

    async fn embed(&self, _: EmbedSide, texts: Vec<String>, _: &RunContext) -> Result<Vec<Embedding>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let message = format!("the index was opened without its embedding model, {}", self.identity.name);
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
