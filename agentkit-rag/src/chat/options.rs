//! How a local chat model is run.

use std::num::NonZeroUsize;

use agentkit_core::{Error, Result};

use super::Sampling;

/// Tokens of a context, unless said otherwise; the model's own may be far more than memory is wanted for.
const CONTEXT: usize = 4096;
/// Shortest context that leaves room for a question and an answer.
const LEAST_CONTEXT: usize = 64;

/// How a [`LocalChat`](super::LocalChat) runs.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LocalOptions {
    /// See [`LocalOptions::context_tokens`].
    pub context_tokens: Option<usize>,
    /// See [`LocalOptions::max_tokens`].
    pub max_tokens: u32,
    /// See [`LocalOptions::parallel`].
    pub parallel: NonZeroUsize,
    /// See [`LocalOptions::waiting`].
    pub waiting: usize,
    /// See [`LocalOptions::conversations`].
    pub conversations: NonZeroUsize,
    /// How tokens are chosen where a request does not say.
    pub sampling: Sampling,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            context_tokens: None,
            max_tokens: 1024,
            parallel: NonZeroUsize::MIN,
            waiting: 32,
            conversations: NonZeroUsize::MIN.saturating_add(1),
            sampling: Sampling::default(),
        }
    }
}

impl LocalOptions {
    /// Most tokens a request and its answer have together: 4096 unless said otherwise, and never more than the model
    /// was made for. A kept conversation takes memory for as many tokens as it has, about 46 kB each with
    /// SmolLM2-135M.
    #[must_use]
    pub fn context_tokens(mut self, tokens: usize) -> Self {
        self.context_tokens = Some(tokens);
        self
    }

    /// Most tokens of an answer where a request does not say: 1024 unless said otherwise.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// How many answers are made at the same time, on a thread each: one unless said otherwise.
    #[must_use]
    pub fn parallel(mut self, answers: NonZeroUsize) -> Self {
        self.parallel = answers;
        self
    }

    /// How many more requests may wait: 32 unless said otherwise. Beyond that requests are turned away as overloaded.
    #[must_use]
    pub fn waiting(mut self, requests: usize) -> Self {
        self.waiting = requests;
        self
    }

    /// Of how many conversations the model keeps what it has read: two unless said otherwise, and at least as many as
    /// there are answers at the same time.
    #[must_use]
    pub fn conversations(mut self, conversations: NonZeroUsize) -> Self {
        self.conversations = conversations;
        self
    }

    /// How tokens are chosen where a request does not say.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        self.sampling.check()?;
        if self.max_tokens == 0 || self.context_tokens.is_some_and(|tokens| tokens < LEAST_CONTEXT) {
            return Err(Error::invalid_input(format!(
                "a context needs at least {LEAST_CONTEXT} tokens and an answer at least one, got {self:?}"
            )));
        }
        Ok(())
    }

    /// Tokens of a context of a model that was made for `most`.
    pub(super) fn context(&self, most: usize) -> usize {
        self.context_tokens.unwrap_or(CONTEXT).min(most)
    }
}
