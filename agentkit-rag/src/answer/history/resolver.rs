//! The same with a reader: the embedding model says of each word whether the question lacks it.

use std::collections::BTreeMap;

use agentkit_core::{
    Conversation, ErrorKind, QueryRewriter, Result, RunContext, SearchRequest, WeightedQuery,
};
use async_trait::async_trait;

use super::turns::{Candidate, Place, Said};
use super::weights::{Known, probability};
use super::{CarriedWord, FollowUp, HistoryRewriter, Picked, queries};
use crate::embed::{BertEmbedder, Marked, TermClassifier};

/// Least probability of a word that is searched for, unless told otherwise.
const LEAST: f32 = 0.2;
/// A conversation is read if the model knows at least this share of its words.
const FAMILIAR: f32 = 0.5;
/// What is put between two topics.
const BETWEEN: &str = " . ";

/// Adds to each question the words of its conversation that the embedding model, reading both, finds it to lack.
///
/// Searches as [`HistoryRewriter`] does, with fewer words and better ones; with the words of a [`HistoryRewriter`] where the model
/// does not know the language, or has so much waiting that it refuses more. No chat model is asked. A question in a conversation costs one more forward pass, of at
/// most 128 tokens.
///
/// # Examples
/// ```no_run
/// use agentkit_core::{Conversation, Message, RunContext};
/// use agentkit_rag::answer::QueryResolver;
/// use agentkit_rag::embed::BertEmbedder;
///
/// # async fn example() -> agentkit_core::Result<()> {
/// let resolver = QueryResolver::new(&BertEmbedder::minilm().await?).await?;
/// let before = Conversation::new(vec![
///     Message::user("Who was Josh Norman?"),
///     Message::assistant("A cornerback of the Panthers."),
/// ]);
/// let words = resolver.words("How many balls did he intercept?", &before, &RunContext::new()).await?;
/// assert_eq!(words[0].text, "Norman");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct QueryResolver {
    classifier: TermClassifier,
    least: f32,
    /// What adds words where nothing can be read; it knows how many there may be.
    unread: HistoryRewriter,
}

impl QueryResolver {
    /// Reads with the model of `embedder`, and adds at most twelve words that have a chance of 0.2.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading.
    ///
    /// # Errors
    /// As [`TermClassifier::new`].
    pub async fn new(embedder: &BertEmbedder) -> Result<Self> {
        let classifier = TermClassifier::new(embedder).await?;
        Ok(Self { classifier, least: LEAST, unread: HistoryRewriter::new() })
    }

    /// Adds words with at least this probability, 0 to 1. Where nothing can be read it stays with that of
    /// [`HistoryRewriter`], whose probabilities are of another kind.
    #[must_use]
    pub fn least(mut self, probability: f32) -> Self {
        self.least = probability;
        self
    }

    /// Adds at most this many words.
    #[must_use]
    pub fn most(mut self, words: usize) -> Self {
        self.unread = self.unread.most(words);
        self
    }

    /// The words to add to `question`, the most probable first.
    ///
    /// # Cancel safety
    /// Dropping the future stops the reading.
    ///
    /// # Errors
    /// Stopped; or an internal error of the model.
    pub async fn words(
        &self,
        question: &str,
        before: &Conversation,
        ctx: &RunContext,
    ) -> Result<Vec<CarriedWord>> {
        Ok(self.pick(question, before, ctx).await?.words())
    }

    async fn pick(&self, question: &str, before: &Conversation, ctx: &RunContext) -> Result<Picked> {
        let follow_up = FollowUp::read_apart(question, before, ctx).await?;
        if follow_up.said.candidates.is_empty() || !self.can_read(&follow_up) {
            return Ok(self.unread.choose(follow_up));
        }
        let odds = match self.read(question, &follow_up.said, ctx).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => return Ok(self.unread.choose(follow_up)),
            read => read?,
        };
        let FollowUp { asked, said, .. } = follow_up;
        let known = if before.topics.is_empty() { Known::Read } else { Known::ReadWithTopics };
        let weigh = |word: &Candidate| {
            let odds = word.places.iter().filter_map(|place| odds.get(place)).copied();
            (word.place, probability(&word.signs, &asked, known(odds.max_by(f32::total_cmp))))
        };
        let weighed = said.candidates.iter().map(weigh).collect();
        Ok(Picked::new(said, weighed, self.least, self.unread.most))
    }

    /// Whether this is English, which alone was learnt from, and the model knows its words.
    fn can_read(&self, FollowUp { lexicon, sample, .. }: &FollowUp) -> bool {
        lexicon.is_english() && self.classifier.familiarity(sample) >= FAMILIAR
    }

    /// The log odds of every place that was read.
    async fn read(&self, question: &str, said: &Said, ctx: &RunContext) -> Result<BTreeMap<Place, f32>> {
        let pages = Pages::of(said);
        let odds = self.classifier.log_odds(question, pages.texts, ctx).await?;
        let read = pages.places.into_iter().zip(odds.into_iter().flatten());
        Ok(read.filter_map(|(place, odds)| Some((place, odds?))).collect())
    }
}

/// A conversation in the order in which it is read: the topics as one text, and the turns from the latest to the oldest.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) texts: Vec<Marked>,
    /// Where each of their words was said.
    pub(super) places: Vec<Place>,
}

impl Pages {
    pub(super) fn of(said: &Said) -> Self {
        let mut words: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for place in said.candidates.iter().flat_map(|word| &word.places) {
            words.entry(place.text).or_default().push(*place);
        }
        for places in words.values_mut() {
            places.sort_unstable();
        }
        let mut pages = Self::default();
        let mut topics = Marked::default();
        for (at, topic) in said.topics().filter(|(_, topic)| !topic.trim().is_empty()) {
            if !topics.text.is_empty() {
                topics.text.push_str(BETWEEN);
            }
            pages.mark(&mut topics, topic, words.remove(&at));
        }
        pages.texts.push(topics);
        for (at, turn) in said.turns().rev() {
            let mut page = Marked::default();
            pages.mark(&mut page, turn, words.remove(&at));
            pages.texts.push(page);
        }
        pages
    }

    /// Goes on in `page` with a text that has these words.
    fn mark(&mut self, page: &mut Marked, text: &str, words: Option<Vec<Place>>) {
        let words = words.unwrap_or_default();
        page.push(text, words.iter().map(|place| place.start..place.end));
        self.places.extend(words);
    }
}

#[async_trait]
impl QueryRewriter for QueryResolver {
    fn name(&self) -> &'static str {
        "resolver"
    }

    async fn rewrite(&self, request: &SearchRequest, ctx: &RunContext) -> Result<Vec<WeightedQuery>> {
        ctx.check()?;
        let picked = self.pick(&request.text, &request.conversation, ctx).await?;
        Ok(queries(request, &picked.addition()))
    }
}

#[cfg(test)]
mod tests {
    use agentkit_core::Message;

    use super::*;

    #[tokio::test]
    async fn where_too_much_waits_to_be_read_the_signs_are_left() {
        let resolver = QueryResolver::new(&BertEmbedder::minilm().await.unwrap()).await.unwrap();
        let before = Conversation::new(vec![Message::user("Who was Josh Norman?")]);
        let (question, ctx) = ("Where was he born?", RunContext::new());
        let words = async || resolver.words(question, &before, &ctx).await.unwrap();
        let (read, signs) = (words().await, HistoryRewriter::new().words(question, &before));
        assert_ne!(read, signs);
        let full = resolver.classifier.fill().await;
        assert_eq!(words().await, signs);
        drop(full);
        assert_eq!(words().await, read);
    }
}
