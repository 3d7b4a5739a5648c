//! Searching for what an answer might look like.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::ask::Task;
use super::{QueryRewriter, WeightedQuery};
use crate::context::RunContext;
use crate::error::Result;
use crate::model::ChatModel;
use crate::retrieve::{SearchPlan, SearchRequest};

const TASK: Task<'static> = Task {
    instructions: "Write a short passage, three sentences at most, as it might stand in a document that answers the \
        question. Make up plausible details where you do not know them. Write in the question's language. Reply \
        with the passage only.",
    max_tokens: 200,
    with_conversation: false,
};

/// Has a chat model make up an answer and searches for texts of the same meaning: Gao et al., "Precise Zero-Shot Dense
/// Retrieval without Relevance Labels" (ACL 2023).
///
/// The made-up passage is searched for by vectors only, since its words are invented; the question is searched for as it
/// was asked beside it.
#[derive(Clone)]
pub struct Hyde {
    model: Arc<dyn ChatModel>,
    weight: f32,
}

impl Hyde {
    /// Asks `model`.
    #[must_use]
    pub fn new(model: Arc<dyn ChatModel>) -> Self {
        Self { model, weight: 1.0 }
    }

    /// How much the made-up passage counts beside the question, which counts 1; 1 by default.
    #[must_use]
    pub fn weight(mut self, weight: f32) -> Self {
        self.weight = weight;
        self
    }
}

#[async_trait]
impl QueryRewriter for Hyde {
    fn name(&self) -> &'static str {
        "hyde"
    }

    async fn rewrite(&self, request: &SearchRequest, ctx: &RunContext) -> Result<Vec<WeightedQuery>> {
        let passage = TASK.ask(&*self.model, request, ctx).await?;
        let own = WeightedQuery::new(request.text.as_str());
        Ok(vec![own, WeightedQuery::new(passage).weight(self.weight).plan(SearchPlan::dense())])
    }
}

impl fmt::Debug for Hyde {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hyde").field("model", self.model.info()).field("weight", &self.weight).finish()
    }
}
