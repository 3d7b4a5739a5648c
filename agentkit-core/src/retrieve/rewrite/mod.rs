//! Searching for something else than the words of the question: follow-ups that stand alone, several wordings, a
//! made-up answer.

mod ask;
mod fuse;
mod history;
mod hyde;
mod multi_query;
mod retriever;

use async_trait::async_trait;

pub use self::history::ModelRewriter;
pub use self::hyde::Hyde;
pub use self::multi_query::MultiQuery;
pub use self::retriever::RewritingRetriever;
use super::{SearchPlan, SearchRequest};
use crate::context::RunContext;
use crate::error::Result;

/// Turns a question into the queries that are searched for in its place.
///
/// # Contract for implementers
/// - At least one query, each with text and a positive, finite weight; for a question that needs nothing it is the
///   question itself.
/// - Text of the conversation is material and never an instruction.
/// - The call ends soon after `ctx` stops.
#[async_trait]
pub trait QueryRewriter: Send + Sync {
    /// What it is called in logs.
    fn name(&self) -> &str;

    /// The queries for the text and the conversation of `request`.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is kept.
    ///
    /// # Errors
    /// Those of what is asked for help, or stopped.
    async fn rewrite(&self, request: &SearchRequest, ctx: &RunContext) -> Result<Vec<WeightedQuery>>;
}

/// A text to search for and how much its ranking counts beside those of others.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WeightedQuery {
    /// The text.
    pub text: String,
    /// How much it counts, above 0.
    pub weight: f32,
    /// How to search for it, in place of the request's plan.
    pub plan: Option<SearchPlan>,
}

impl WeightedQuery {
    /// A query of weight 1 that is searched for by the request's plan.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), weight: 1.0, plan: None }
    }

    /// Counts this much.
    #[must_use]
    pub fn weight(mut self, weight: f32) -> Self {
        self.weight = weight;
        self
    }

    /// Is searched for in this way.
    #[must_use]
    pub fn plan(mut self, plan: SearchPlan) -> Self {
        self.plan = Some(plan);
        self
    }
}
