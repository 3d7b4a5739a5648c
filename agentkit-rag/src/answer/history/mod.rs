//! Making a follow-up stand alone by the words of the conversation; no model is asked.
//!
//! Every content word of the turns before gets a probability that a person who writes the question out in full
//! would add it: a logistic regression over some thirty plain signs, such as "a name of the user's last question"
//! or "said in the last answer, and the question asks what else". Its weights were fitted on half of the dialogs of
//! CANARD; `docs/adr/0019-history-without-a-model.md` says how, and what it reaches on the other half. Words with a
//! fair chance are searched for beside the question and not in its place, so a wrong one costs little.

#[cfg(test)]
mod learning;
mod question;
mod resolver;
mod turns;
mod weights;

use agentkit_core::{
    Conversation, MAX_QUERY_BYTES, QueryRewriter, Result, RunContext, SearchPlan, SearchRequest,
    WeightedQuery,
};
use async_trait::async_trait;

use self::question::Asked;
pub use self::resolver::QueryResolver;
use self::turns::{Candidate, Place, Said};
use self::weights::{Known, probability};
use super::terms::Lexicon;

/// Longer conversations are read on a thread that may block.
const INLINE_BYTES: usize = 2_000;
/// Least probability of a word that is searched for, and most words, unless told otherwise.
const LEAST: f32 = 0.1;
const MOST: usize = 12;

/// Adds to each question the words of its conversation that it seems to lean on.
///
/// The question is searched for as it was asked; with the words added it is searched for a second time, by vectors
/// where the plan uses them, since added words blur exact matches more than meaning. A question without a
/// conversation stays as it is.
///
/// # Examples
/// ```
/// use agentkit_core::{Conversation, Message};
/// use agentkit_rag::answer::HistoryRewriter;
///
/// let before = Conversation::new(vec![
///     Message::user("Who was Josh Norman?"),
///     Message::assistant("A cornerback of the Panthers."),
/// ]);
/// let words = HistoryRewriter::new().words("How many balls did he intercept?", &before);
/// assert!(words.iter().any(|word| word.text == "Norman"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistoryRewriter {
    least: f32,
    most: usize,
}

/// A word of a conversation that a question may lean on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CarriedWord {
    /// The word as it was said.
    pub text: String,
    /// How probably somebody who writes the question out in full adds it.
    pub probability: f32,
}

impl HistoryRewriter {
    /// Adds at most twelve words that have a chance of 0.1.
    #[must_use]
    pub fn new() -> Self {
        Self { least: LEAST, most: MOST }
    }

    /// Adds words with at least this probability, 0 to 1.
    #[must_use]
    pub fn least(mut self, probability: f32) -> Self {
        self.least = probability;
        self
    }

    /// Adds at most this many words.
    #[must_use]
    pub fn most(mut self, words: usize) -> Self {
        self.most = words;
        self
    }

    /// The words to add to `question`, the most probable first.
    #[must_use]
    pub fn words(&self, question: &str, before: &Conversation) -> Vec<CarriedWord> {
        self.pick(question, before).words()
    }

    /// The words to add to `question`, in the order in which they were said.
    #[must_use]
    pub fn addition(&self, question: &str, before: &Conversation) -> String {
        self.pick(question, before).addition()
    }

    fn pick(&self, question: &str, before: &Conversation) -> Picked {
        self.choose(FollowUp::read(question, before))
    }

    fn choose(&self, FollowUp { asked, said, .. }: FollowUp) -> Picked {
        let weigh = |word: &Candidate| (word.place, probability(&word.signs, &asked, Known::Signs));
        let weighed = said.candidates.iter().map(weigh).collect();
        Picked::new(said, weighed, self.least, self.most)
    }
}

/// A question and what was said before it.
struct FollowUp {
    /// What shows the language: the question and the one before it.
    sample: String,
    lexicon: Lexicon,
    asked: Asked,
    said: Said,
}

impl FollowUp {
    /// Reads them, on a blocking thread if they are long.
    async fn read_apart(question: &str, before: &Conversation, ctx: &RunContext) -> Result<Self> {
        let said: usize = before.turns().map(|(_, text)| text.len()).sum();
        if question.len() + said <= INLINE_BYTES {
            return Ok(Self::read(question, before));
        }
        let (question, before) = (question.to_owned(), before.clone());
        ctx.run_blocking(move |_| Ok(Self::read(&question, &before))).await
    }

    fn read(question: &str, before: &Conversation) -> Self {
        let sample = format!("{question} {}", before.user_turns().next_back().unwrap_or_default());
        let lexicon = Lexicon::of(&sample);
        let asked = Asked::read(&lexicon, question);
        let said = Said::read(&lexicon, &asked, before);
        Self { sample, lexicon, asked, said }
    }
}

/// Words of a conversation that were chosen, the most probable first.
struct Picked {
    said: Said,
    words: Vec<(Place, f32)>,
}

impl Picked {
    fn new(said: Said, mut words: Vec<(Place, f32)>, least: f32, most: usize) -> Self {
        words.retain(|(_, chance)| *chance >= least);
        words.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        words.truncate(most);
        Self { said, words }
    }

    fn words(&self) -> Vec<CarriedWord> {
        let word =
            |&(place, probability)| CarriedWord { text: self.said.text(place).to_owned(), probability };
        self.words.iter().map(word).collect()
    }

    /// In the order in which they were said.
    fn addition(&self) -> String {
        self.said.joined(self.words.iter().map(|(place, _)| *place).collect())
    }
}

/// The question as it was asked, and with `addition`.
fn queries(request: &SearchRequest, addition: &str) -> Vec<WeightedQuery> {
    let own = WeightedQuery::new(request.text.as_str());
    let extended = format!("{} {addition}", request.text);
    if addition.is_empty() || extended.len() > MAX_QUERY_BYTES {
        return vec![own];
    }
    let mut second = WeightedQuery::new(extended);
    if request.plan.needs_embedding() {
        second = second.plan(SearchPlan::dense());
    }
    vec![own, second]
}

impl Default for HistoryRewriter {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl QueryRewriter for HistoryRewriter {
    fn name(&self) -> &'static str {
        "history"
    }

    async fn rewrite(&self, request: &SearchRequest, ctx: &RunContext) -> Result<Vec<WeightedQuery>> {
        ctx.check()?;
        let follow_up = FollowUp::read_apart(&request.text, &request.conversation, ctx).await?;
        Ok(queries(request, &self.choose(follow_up).addition()))
    }
}

#[cfg(test)]
mod tests;
