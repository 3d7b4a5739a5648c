//! How much speaks for a question being answered by what was found.

use std::fmt;
use std::sync::Arc;

use agentkit_core::{Conversation, EmbedSide, Embedder, Embedding, Hit, Leg, Passage, Result, RunContext};

use super::score::{Question, weigh};
use super::sentence::{UnitKind, units};

/// What is little with all-MiniLM-L6-v2: an eighth of the questions of xquad English have less support
/// (`docs/adr/0034-support.md`).
const LEAST: f32 = 1.19;
/// How much the words count beside the meaning.
const WORDS: f32 = 0.3;
/// Hits among which the best cosine is looked for.
const MAX_HITS: usize = 8;
/// Sentences of the first passage that are looked at.
const MAX_SENTENCES: usize = 24;
/// Questions of which the model knows fewer of the words are not judged: their cosines mean little.
const FAMILIAR: f32 = 0.7;

/// Judges how well what was found supports an answer, for [`RagAgent::support`](super::RagAgent::support).
///
/// The value is the cosine of the best hit, the cosine of the sentence of the first passage that comes nearest to the
/// question, and 0.3 of the share of the question's words that this passage holds. What is little depends on the embedding
/// model: with another than all-MiniLM-L6-v2, [`Support::least`] has to be set.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{HashingEmbedder, MemoryRetriever};
/// use agentkit_core::{Conversation, Metadata, Retriever, RunContext, SearchRequest, TenantScope};
/// use agentkit_rag::answer::Support;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (scope, ctx) = (TenantScope::local(), RunContext::new());
/// let documents = MemoryRetriever::new();
/// documents.add_text(&scope, "tea", "Green tea is best at 80 degrees.", &Metadata::new())?;
/// let judge = Support::new(Arc::new(HashingEmbedder::new()));
/// let mut values = Vec::new();
/// for question in ["How many degrees is green tea best at?", "Who painted the chapel?"] {
///     let found = documents.search(&SearchRequest::new(scope.clone(), question), &ctx).await?;
///     values.push(judge.of(question, &Conversation::default(), &found.hits, &ctx).await?);
/// }
/// assert!(values[0] > values[1]);
/// # Ok::<_, agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Support {
    embedder: Arc<dyn Embedder>,
    least: f32,
}

impl Support {
    /// Judges with this model, which must be the one that the passages are searched with.
    #[must_use]
    pub fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self { embedder, least: LEAST }
    }

    /// Below what an answer is doubtful; 1.19 unless set, which belongs to all-MiniLM-L6-v2.
    #[must_use]
    pub fn least(mut self, least: f32) -> Self {
        self.least = least;
        self
    }

    /// Below what an answer is doubtful.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.least
    }

    /// The support that `hits` give. `None` where that cannot be judged: nothing was found by vectors, the question leans on
    /// what was said before it, or the model [knows too few](Embedder::familiarity) of its words.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; nothing is kept.
    ///
    /// # Errors
    /// What the embedder returns, or stopped.
    pub async fn of(
        &self,
        question: &str,
        before: &Conversation,
        hits: &[Hit],
        ctx: &RunContext,
    ) -> Result<Option<f32>> {
        let hits = hits.get(..MAX_HITS).unwrap_or(hits);
        let best = hits.iter().filter_map(leg_cosine).max_by(f32::total_cmp);
        let (Some(best), Some(first)) = (best, hits.first()) else { return Ok(None) };
        if !before.is_empty() || self.embedder.familiarity(question) < FAMILIAR {
            return Ok(None);
        }
        let coverage = weigh(&Question::new(question), &[&first.passage]).coverage;
        let sentence = self.nearest_sentence(question, &first.passage, ctx).await?;
        Ok(Some(best + sentence + WORDS * coverage))
    }

    /// The cosine of the sentence that comes nearest to the question; 0 if there is none.
    async fn nearest_sentence(&self, question: &str, passage: &Passage, ctx: &RunContext) -> Result<f32> {
        let sentences = units(&passage.text).into_iter().filter(|unit| unit.kind != UnitKind::Heading);
        let texts = sentences.filter_map(|unit| unit.span.slice(&passage.text)).take(MAX_SENTENCES);
        let texts: Vec<String> = texts.map(str::to_owned).collect();
        let question = self.embedder.embed(EmbedSide::Query, vec![question.to_owned()], ctx);
        let sentences = self.embedder.embed(EmbedSide::Document, texts, ctx);
        let (question, sentences) = ctx.run(async { tokio::try_join!(question, sentences) }).await?;
        let Some(question) = question.first() else { return Ok(0.0) };
        let cosines = sentences.iter().map(|sentence| cosine(question, sentence));
        Ok(cosines.max_by(f32::total_cmp).unwrap_or(0.0))
    }
}

impl fmt::Debug for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Support")
            .field("embedder", self.embedder.identity())
            .field("least", &self.least)
            .finish_non_exhaustive()
    }
}

fn leg_cosine(hit: &Hit) -> Option<f32> {
    hit.explanation.legs.iter().find(|leg| leg.leg == Leg::Dense).map(|leg| leg.score)
}

fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    let dot = |a: &Embedding, b: &Embedding| -> f32 {
        a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}
