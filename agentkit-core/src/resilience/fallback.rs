//! Asks the next one when one cannot answer.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::begin::begin;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};

/// A chain of models of which the first that can answer does.
///
/// The next one is asked only before the first event; what fails later is handed on, since nothing may be said
/// twice. Any failure but bad input and a stopped run leads to the next model. If all fail, the call fails with
/// the first error that is retryable, or else with the first.
///
/// The chain describes itself as its first model, with the smallest context of all of them; it has tools if any
/// of them has, and cites or keeps to schemas if all of them do. A request with tools passes over models without.
pub struct Fallback {
    info: ModelInfo,
    chain: Vec<Arc<dyn ChatModel>>,
}

impl Fallback {
    /// A chain that asks `first`, then each of `others` in order.
    #[must_use]
    pub fn new(first: Arc<dyn ChatModel>, others: impl IntoIterator<Item = Arc<dyn ChatModel>>) -> Self {
        let mut info = first.info().clone();
        let chain: Vec<_> = std::iter::once(first).chain(others).collect();
        for other in chain.iter().map(|model| model.info()) {
            info.context_tokens = info.context_tokens.min(other.context_tokens);
            info.capabilities.tools |= other.capabilities.tools;
            info.capabilities.citations &= other.capabilities.citations;
            info.capabilities.structured_output &= other.capabilities.structured_output;
        }
        Self { info, chain }
    }
}

#[async_trait]
impl ChatModel for Fallback {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let mut failed = Failed::default();
        for model in &self.chain {
            match begin(&**model, request.clone(), ctx).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failed.note(error)?,
            }
        }
        Err(failed.reported())
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.chain.iter().map(|model| &model.info().name).collect();
        f.debug_struct("Fallback").field("chain", &names).finish_non_exhaustive()
    }
}

/// A chain of embedders of one identity, such as several servers of the same model.
pub struct FallbackEmbedder {
    first: Arc<dyn Embedder>,
    others: Vec<Arc<dyn Embedder>>,
}

impl FallbackEmbedder {
    /// A chain that asks `first`, then each of `others` in order.
    ///
    /// # Errors
    /// Mismatch: the embedders are not interchangeable, since vectors of two models cannot be compared.
    pub fn new(
        first: Arc<dyn Embedder>,
        others: impl IntoIterator<Item = Arc<dyn Embedder>>,
    ) -> Result<Self> {
        let others: Vec<_> = others.into_iter().collect();
        match others.iter().find(|other| other.identity() != first.identity()) {
            None => Ok(Self { first, others }),
            Some(other) => Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "embedder {:?} cannot stand in for {:?}: their identities differ",
                    other.identity().name,
                    first.identity().name
                ),
            )),
        }
    }
}

#[async_trait]
impl Embedder for FallbackEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        self.first.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.first.count_tokens(text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        let mut failed = Failed::default();
        for embedder in std::iter::once(&self.first).chain(&self.others) {
            match embedder.embed(side, texts.clone(), ctx).await {
                Ok(embeddings) => return Ok(embeddings),
                Err(error) => failed.note(error)?,
            }
        }
        Err(failed.reported())
    }
}

impl fmt::Debug for FallbackEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackEmbedder").field("identity", self.identity()).finish_non_exhaustive()
    }
}

/// The error that a chain fails with if nobody in it answers.
#[derive(Default)]
struct Failed(Option<Error>);

impl Failed {
    /// Keeps `error`, or returns it if nobody else could answer either.
    fn note(&mut self, error: Error) -> Result<()> {
        if error.is_stopped() || error.is_invalid_input() {
            return Err(error);
        }
        tracing::debug!(error = error.chain(), "a member of a fallback chain failed");
        let better = self.0.as_ref().is_none_or(|kept| error.is_retryable() && !kept.is_retryable());
        if better {
            self.0 = Some(error);
        }
        Ok(())
    }

    fn reported(self) -> Error {
        self.0.unwrap_or_else(|| Error::internal("a fallback chain is empty"))
    }
}
