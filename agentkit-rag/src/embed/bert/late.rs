//! A reranker that compares a question with a passage token by token.

use std::sync::Arc;

use agentkit_core::{EmbedSide, Embedder, Reranker, Result, RunContext};
use async_trait::async_trait;

use super::engine::Reading;
use super::{BertEmbedder, Shared};

/// A [`Reranker`] by late interaction over an embedder's own token vectors: `MaxSim` of Khattab and Zaharia, `ColBERT`
/// (SIGIR 2020).
///
/// The score is the mean, over the question's tokens, of the cosine to the nearest token of the passage: -1 to 1, and 0 where
/// one of them has no tokens. It needs no model beside the embedder, but the passages are embedded at each question,
/// which takes far longer than the search, so it is not used by default.
///
/// Cheap to clone.
///
/// # Examples
/// ```no_run
/// use agentkit_core::{Reranker, RunContext};
/// use agentkit_rag::embed::{BertEmbedder, LateInteraction};
///
/// # async fn example() -> agentkit_core::Result<()> {
/// let reranker = LateInteraction::new(BertEmbedder::minilm().await?);
/// let scores = reranker.rerank("green tea", vec!["Tea is green.".into()], &RunContext::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LateInteraction {
    embedder: BertEmbedder,
    name: String,
}

impl LateInteraction {
    /// Compares by the token vectors of `embedder`.
    #[must_use]
    pub fn new(embedder: BertEmbedder) -> Self {
        let name = format!("{} maxsim", embedder.identity().name);
        Self { embedder, name }
    }

    /// The vectors of each text's tokens, special ones left out, one behind the other.
    async fn tokens(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Vec<f32>>> {
        let shared = Arc::clone(&self.embedder.shared);
        let batches = ctx.run_blocking(move |ctx| shared.batches(side, &texts, Reading::Tokens, ctx)).await?;
        let mut states = self.embedder.shared.engine.run_all(batches, self.embedder.threads, ctx).await?;
        for state in &mut states {
            self.embedder.shared.strip(state);
        }
        Ok(states)
    }
}

impl Shared {
    /// Takes the vectors of the special tokens off.
    fn strip(&self, state: &mut Vec<f32>) {
        let (head, tail) = self.tokens.around();
        let hidden = self.settings.architecture.hidden_size;
        state.truncate(state.len().saturating_sub(tail.len() * hidden));
        state.drain(..(head.len() * hidden).min(state.len()));
    }
}

#[async_trait]
impl Reranker for LateInteraction {
    fn name(&self) -> &str {
        &self.name
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        ctx.check()?;
        let asked = self.tokens(EmbedSide::Query, vec![query.to_owned()], ctx).await?;
        let asked = asked.into_iter().next().unwrap_or_default();
        let passages = self.tokens(EmbedSide::Document, passages, ctx).await?;
        let hidden = self.embedder.shared.settings.architecture.hidden_size;
        ctx.run_blocking(move |ctx| {
            let score = |passage: &Vec<f32>| ctx.check().map(|()| max_sim(&asked, passage, hidden));
            passages.iter().map(score).collect()
        })
        .await
    }
}

/// The mean, over the first text's vectors, of the largest dot product with one of the second's.
#[expect(clippy::cast_precision_loss, reason = "texts are far shorter than 2^24 tokens")]
fn max_sim(first: &[f32], second: &[f32], hidden: usize) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let nearest = |a: &[f32]| second.chunks_exact(hidden).map(|b| dot(a, b)).max_by(f32::total_cmp);
    let count = first.len() / hidden.max(1);
    let sum: f32 = first.chunks_exact(hidden).filter_map(nearest).sum();
    if count == 0 { 0.0 } else { sum / count as f32 }
}
