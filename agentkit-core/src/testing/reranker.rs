//! A reranker without a model: the share of the query's words that a passage has.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::words::words;
use crate::context::RunContext;
use crate::error::Result;
use crate::rerank::Reranker;

/// Scores a passage by the share of the query's distinct words it contains, from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct OverlapReranker;

impl OverlapReranker {
    /// A reranker; it has no settings.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Reranker for OverlapReranker {
    fn name(&self) -> &'static str {
        "overlap"
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        ctx.check()?;
        let query = words(query).collect();
        Ok(passages.iter().map(|passage| overlap(&query, &words(passage).collect())).collect())
    }
}

/// The share of `query` that is in `passage`; 0 for an empty query.
#[expect(clippy::cast_precision_loss, reason = "nobody has a query of 2^24 words")]
pub(super) fn overlap(query: &BTreeSet<String>, passage: &BTreeSet<String>) -> f32 {
    if query.is_empty() {
        return 0.0;
    }
    query.intersection(passage).count() as f32 / query.len() as f32
}
