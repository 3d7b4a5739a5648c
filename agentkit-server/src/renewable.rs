//! A chat model that can be replaced while it is used, by one that is called the same.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use agentkit_core::{ChatModel, ChatRequest, ChatStream, ModelInfo, Result, RunContext};
use async_trait::async_trait;

/// The model of the moment. Answers that have begun are finished by the one that began them.
pub(crate) struct Renewable {
    info: ModelInfo,
    current: RwLock<Arc<dyn ChatModel>>,
}

impl Renewable {
    pub(crate) fn new(model: Arc<dyn ChatModel>) -> Self {
        Self { info: model.info().clone(), current: RwLock::new(model) }
    }

    /// Asks `model` from now on.
    pub(crate) fn renew(&self, model: Arc<dyn ChatModel>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = model;
    }
}

#[async_trait]
impl ChatModel for Renewable {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        current.stream(request, ctx).await
    }
}

impl fmt::Debug for Renewable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewable").field("info", &self.info).finish_non_exhaustive()
    }
}
