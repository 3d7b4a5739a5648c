//! How much speaks for a question being answered by what was found, from retrieval and the passages' words alone.

use agentkit_core::{Conversation, Hit, Leg, Passage};

use super::history::HistoryRewriter;
use super::score::{Question, weigh};

/// The support below which an answer is doubtful with all-MiniLM-L6-v2: it lies between the values
/// that lose a tenth of the answerable questions of mtrag and of xquad (`docs/adr/0032-abstention.md`).
pub const MINILM_SUPPORT: f32 = 0.59;
/// How much the words count beside the meaning.
const WORDS: f32 = 0.3;
/// Hits looked at.
const MAX_HITS: usize = 8;

/// How well `hits` support an answer to `question`, for [`RagAgent::least_support`](super::RagAgent::least_support).
///
/// The cosine of the best hit, and 0.3 of the share of the question's words that the best sentence holds, rare words
/// counting more. `None`, if no hit was found by vectors, so that there is no cosine. What is little and what is
/// much depends on the embedding model.
#[must_use]
pub fn support(question: &str, before: &Conversation, hits: &[Hit]) -> Option<f32> {
    let hits = hits.get(..MAX_HITS).unwrap_or(hits);
    let cosine = hits.iter().filter_map(cosine).max_by(f32::total_cmp)?;
    let context = HistoryRewriter::new().addition(question, before);
    let question = Question::new(question).with_context(&context);
    let passages: Vec<&Passage> = hits.iter().map(|hit| &hit.passage).collect();
    Some(cosine + WORDS * weigh(&question, &passages).sentence_share)
}

fn cosine(hit: &Hit) -> Option<f32> {
    hit.explanation.legs.iter().find(|leg| leg.leg == Leg::Dense).map(|leg| leg.score)
}
