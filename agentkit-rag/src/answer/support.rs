//! How much speaks for a question being answered by what was found.

use std::fmt;
use std::sync::Arc;

use agentkit_core::{
    EmbedSide, Embedder, Embedding, Hit, Leg, Result, RunContext, SearchRequest, SearchResponse,
};

use super::score::{Candidate, Evidence, Question, weigh};
use super::sentence::UnitKind;
use super::vectors::SentenceVectors;

/// What is little with all-MiniLM-L6-v2: an eighth of the questions of xquad English have less support
/// (`docs/adr/0034-support.md`).
const LEAST: f32 = 1.19;
/// How much the words count beside the meaning.
const WORDS: f32 = 0.3;
/// Hits among which the best cosine is looked for.
const MAX_HITS: usize = 8;
/// Sentences of the first passage that are looked at.
const MAX_SENTENCES: usize = 24;
/// Sentences that are embedded at first; each further step takes twice as many.
const FIRST_STEP: usize = 2;
/// How far the nearest sentence of the first passage lies below and above the best hit at most, but for one in a hundred.
const BELOW: f32 = 0.45;
const ABOVE: f32 = 0.3;
/// Questions of which the model knows fewer of the words are not judged: their cosines mean little.
const FAMILIAR: f32 = 0.7;

/// Judges how well what was found supports an answer, for [`RagAgent::support`](super::RagAgent::support).
///
/// The value is the cosine of the best hit, the cosine of the sentence of the first passage that comes nearest to the
/// question, and 0.3 of the share of the question's words that this passage holds. What is little depends on the embedding
/// model: with another than all-MiniLM-L6-v2, [`Support::least`] has to be set.
///
/// Clones share the embeddings of sentences that were looked at in the last ten minutes, 16,384 at most, each for one tenant.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{HashingEmbedder, MemoryRetriever};
/// use agentkit_core::{Metadata, Retriever, RunContext, SearchRequest, TenantScope};
/// use agentkit_rag::answer::Support;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (scope, ctx) = (TenantScope::local(), RunContext::new());
/// let documents = MemoryRetriever::new();
/// documents.add_text(&scope, "tea", "Green tea is best at 80 degrees.", &Metadata::new())?;
/// let judge = Support::new(Arc::new(HashingEmbedder::new()));
/// let mut values = Vec::new();
/// for question in ["How many degrees is green tea best at?", "Who painted the chapel?"] {
///     let request = SearchRequest::new(scope.clone(), question);
///     let found = documents.search(&request, &ctx).await?;
///     values.push(judge.of(&request, &found, &ctx).await?);
/// }
/// assert!(values[0] > values[1]);
/// # Ok::<_, agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Support {
    embedder: Arc<dyn Embedder>,
    vectors: SentenceVectors,
    least: f32,
}

impl Support {
    /// Judges with this model, which must be the one that the passages are searched with.
    #[must_use]
    pub fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self { vectors: SentenceVectors::new(embedder.clone()), embedder, least: LEAST }
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

    /// Forgets the sentences whose embeddings are remembered; they are under a hash, without their text.
    pub fn forget_sentences(&self) {
        self.vectors.clear();
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
        asked: &SearchRequest,
        found: &SearchResponse,
        ctx: &RunContext,
    ) -> Result<Option<f32>> {
        let Some(grounds) = self.grounds(asked, found) else { return Ok(None) };
        let sentence = self.nearest(&grounds, f32::INFINITY, ctx).await?;
        Ok(Some(grounds.base + sentence))
    }

    /// Whether `hits` give at least [the support](Support::of) that is asked for; true where that cannot be judged.
    ///
    /// It embeds no more than it must: nothing where the best hit and the words leave hardly a doubt, and otherwise the sentences
    /// with most of the question's words first, until one is near enough.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; nothing is kept.
    ///
    /// # Errors
    /// What the embedder returns, or stopped.
    pub async fn suffices(
        &self,
        asked: &SearchRequest,
        found: &SearchResponse,
        ctx: &RunContext,
    ) -> Result<bool> {
        let Some(grounds) = self.grounds(asked, found) else { return Ok(true) };
        let wanted = self.least - grounds.base;
        if grounds.best - BELOW >= wanted || grounds.best + ABOVE < wanted {
            return Ok(grounds.best >= wanted);
        }
        Ok(self.nearest(&grounds, wanted, ctx).await? >= wanted)
    }

    fn grounds<'f>(&self, asked: &'f SearchRequest, found: &'f SearchResponse) -> Option<Grounds<'f>> {
        let hits = found.hits.get(..MAX_HITS).unwrap_or(&found.hits);
        let best = hits.iter().filter_map(leg_cosine).max_by(f32::total_cmp)?;
        let first = &hits.first()?.passage;
        if !asked.conversation.is_empty() || self.embedder.familiarity(&asked.text) < FAMILIAR {
            return None;
        }
        let Evidence { candidates, coverage } = weigh(&Question::new(&asked.text), &[first]);
        let sentences = sentences(candidates, &first.text);
        Some(Grounds { asked, vector: found.vector.as_ref(), best, base: best + WORDS * coverage, sentences })
    }

    /// The cosine of the sentence that comes nearest to the question, 0 if there is none; or that of an earlier one that
    /// has as much as `wanted`.
    async fn nearest(&self, grounds: &Grounds<'_>, wanted: f32, ctx: &RunContext) -> Result<f32> {
        let Some(question) = self.question(grounds, ctx).await? else { return Ok(0.0) };
        let (mut nearest, mut sentences, mut step) = (0.0_f32, grounds.sentences.iter(), FIRST_STEP);
        while nearest < wanted {
            let some: Vec<&str> = sentences.by_ref().take(step).copied().collect();
            if some.is_empty() {
                break;
            }
            let some = self.vectors.of(grounds.asked.scope.tenant(), &some, ctx).await?;
            nearest = some.iter().map(|sentence| cosine(&question, sentence)).fold(nearest, f32::max);
            step *= 2;
        }
        Ok(nearest)
    }

    async fn question(&self, grounds: &Grounds<'_>, ctx: &RunContext) -> Result<Option<Embedding>> {
        if let Some(known) = grounds.vector {
            return Ok(Some(known.clone()));
        }
        let question = vec![grounds.asked.text.clone()];
        let vectors = ctx.run(self.embedder.embed(EmbedSide::Query, question, ctx)).await?;
        Ok(vectors.into_iter().next())
    }
}

/// What is known before a sentence is embedded.
struct Grounds<'f> {
    asked: &'f SearchRequest,
    /// The question's embedding, if it was made already.
    vector: Option<&'f Embedding>,
    /// The cosine of the best hit.
    best: f32,
    /// The support without that of a sentence.
    base: f32,
    /// The first passage's sentences, those first that hold most of the question.
    sentences: Vec<&'f str>,
}

fn sentences(mut candidates: Vec<Candidate>, text: &str) -> Vec<&str> {
    candidates.retain(|candidate| candidate.unit.kind != UnitKind::Heading);
    candidates.truncate(MAX_SENTENCES);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.iter().filter_map(|candidate| candidate.unit.span.slice(text)).collect()
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

#[cfg(test)]
mod tests {
    use agentkit_core::testing::{CountingEmbedder, HashingEmbedder};
    use agentkit_core::{
        ChunkId, Conversation, DocumentId, Explanation, LegExplanation, Locator, Message, Metadata, Passage,
        Span, TenantScope,
    };

    use super::*;

    const TEXT: &str = "It rained a lot. The hall was cold. Green tea is best at 80 degrees. Nobody came back. \
        The door was shut. A dog barked twice. The lamp went out. The road was long. Snow fell on the roof.";

    fn found(cosine: f32) -> SearchResponse {
        let passage = Passage {
            chunk_id: ChunkId::new("c").unwrap(),
            document_id: DocumentId::new("d").unwrap(),
            title: None,
            text: TEXT.into(),
            span: Span::new(0, TEXT.len()),
            locator: Locator::default(),
        };
        let leg = LegExplanation { leg: Leg::Dense, rank: 1, score: cosine, contribution: cosine };
        let explanation = Explanation::new(vec![leg], None);
        SearchResponse::new(
            vec![Hit { passage, score: cosine, metadata: Metadata::new(), explanation }],
            1,
            1,
        )
    }

    fn asked(question: &str) -> SearchRequest {
        SearchRequest::new(TenantScope::local(), question)
    }

    /// Whether it suffices, and how many sentences were embedded to know it.
    async fn judged(question: &str, cosine: f32, least: f32) -> (bool, usize) {
        let counting = Arc::new(CountingEmbedder::new(Arc::new(HashingEmbedder::new())));
        let judge = Support::new(counting.clone()).least(least);
        let suffices = judge.suffices(&asked(question), &found(cosine), &RunContext::new()).await.unwrap();
        (suffices, counting.documents())
    }

    #[tokio::test]
    async fn no_more_sentences_are_embedded_than_must_be() {
        let question = "How many degrees is green tea best at?";
        assert_eq!(judged(question, 0.9, 1.19).await, (true, 0), "the passage says enough");
        assert_eq!(judged(question, 0.5, 1.19).await, (true, FIRST_STEP), "so does the likeliest sentence");
        assert_eq!(judged("Who painted the chapel?", 0.45, 1.19).await, (false, 9), "none does");
        assert_eq!(judged("Who painted the chapel?", 0.1, 1.19).await, (false, 0), "far from everything");
    }

    #[tokio::test]
    async fn it_suffices_where_the_support_is_as_large_as_asked() {
        let judge = Support::new(Arc::new(HashingEmbedder::new()));
        let of = async |question: &str, cosine: f32| {
            judge.of(&asked(question), &found(cosine), &RunContext::new()).await.unwrap().unwrap()
        };
        for question in ["When did snow fall?", "Did a dog bark twice?", "Is tea good?", "Who won the cup?"] {
            // The best hit is about as near as the nearest sentence.
            let cosine = of(question, 0.0).await - 0.1;
            let support = of(question, cosine).await;
            assert!(judged(question, cosine, support - 0.01).await.0, "{question}");
            assert!(!judged(question, cosine, support + 0.01).await.0, "{question}");
        }
    }

    #[tokio::test]
    async fn the_retrievers_embedding_of_the_question_is_used() {
        let judge = Support::new(Arc::new(HashingEmbedder::new()));
        let of = async |found: &SearchResponse| {
            judge.of(&asked("Is tea good?"), found, &RunContext::new()).await.unwrap().unwrap()
        };
        let mut found = found(0.5);
        let own = of(&found).await;
        let about_snow = vec!["Snow fell on the roof.".to_owned()];
        let about_snow =
            judge.embedder.embed(EmbedSide::Query, about_snow, &RunContext::new()).await.unwrap();
        found.vector = about_snow.into_iter().next();
        assert!(of(&found).await > own);
    }

    #[tokio::test]
    async fn only_questions_that_stand_alone_and_were_searched_for_by_vectors_are_judged() {
        let judge = Support::new(Arc::new(HashingEmbedder::new()));
        let ctx = RunContext::new();
        assert!(judge.of(&asked("green tea"), &found(0.4), &ctx).await.unwrap().is_some());
        let before = Conversation::new(vec![Message::user("Is tea good?")]);
        let followed = asked("and green?").conversation(before);
        assert_eq!(judge.of(&followed, &found(0.4), &ctx).await.unwrap(), None);
        assert!(judge.suffices(&followed, &found(0.1), &ctx).await.unwrap());
        assert_eq!(judge.of(&asked("green tea"), &SearchResponse::default(), &ctx).await.unwrap(), None);
    }
}
