//! The reranker contract: a second, closer look at a few passages.

#[cfg(feature = "rerank")]
pub mod http;

use async_trait::async_trait;

use crate::context::RunContext;
use crate::error::Result;

/// Scores how well each passage answers a query; higher is better.
///
/// # Contract for implementers
/// One finite score per passage, in the passages' order; a passage's score does not depend on the others of
/// the call. The call ends soon after `ctx` stops.
#[async_trait]
pub trait Reranker: Send + Sync {
    /// The model's name, shown in explanations.
    fn name(&self) -> &str;

    /// Scores `passages` against `query`.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; nothing is kept.
    ///
    /// # Errors
    /// Unavailable, rate limited, stopped, or internal.
    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>>;
}
