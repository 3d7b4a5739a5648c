//! The same with a reader: the embedding model says of each word whether the question lacks it.

use std::collections::BTreeMap;
use std::ops::Range;

use agentkit_core::{Conversation, QueryRewriter, Result, RunContext, SearchRequest, WeightedQuery};
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
/// Searches as [`HistoryRewriter`] does, with fewer words and better ones; where the model does not know the language, with
/// those of a [`HistoryRewriter`]. No chat model is asked. A question in a conversation costs one more forward pass, of at
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
    /// Unavailable if too much is being read, or stopped.
    pub async fn words(
        &self,
        question: &str,
        before: &Conversation,
        ctx: &RunContext,
    ) -> Result<Vec<CarriedWord>> {
        Ok(self.pick(question, before, ctx).await?.words())
    }

    async fn pick(&self, question: &str, before: &Conversation, ctx: &RunContext) -> Result<Picked> {
        let follow_up = FollowUp::read(question, before);
        if follow_up.said.candidates.is_empty() || !self.can_read(&follow_up) {
            return Ok(self.unread.choose(follow_up));
        }
        let FollowUp { asked, said, .. } = follow_up;
        let odds = self.read(question, &said, ctx).await?;
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
        let pages = pages(said);
        let marked = |page: &Page| {
            let words = page.words.iter().map(|(_, range)| range.clone()).collect();
            Marked { text: page.text.clone(), words }
        };
        let marked: Vec<Marked> = pages.iter().map(marked).collect();
        let odds = self.classifier.log_odds(question, &marked, ctx).await?;
        let places = pages.iter().flat_map(|page| &page.words).map(|(place, _)| *place);
        let read = places.zip(odds.into_iter().flatten());
        Ok(read.filter_map(|(place, odds)| Some((place, odds?))).collect())
    }
}

/// A text to be read, and its words: where they were said, and where they are in it.
#[derive(Default)]
struct Page {
    text: String,
    words: Vec<(Place, Range<usize>)>,
}

impl Page {
    /// Goes on with a text of which these are the words.
    fn push(&mut self, text: &str, words: &[Place]) {
        let from = self.text.len();
        let word = |place: &Place| (*place, from + place.start..from + place.end);
        self.words.extend(words.iter().map(word));
        self.text.push_str(text);
    }
}

/// A conversation in the order in which it is read: the topics as one text, and the turns from the latest to the oldest.
fn pages(said: &Said) -> Vec<Page> {
    let mut words: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
    for place in said.candidates.iter().flat_map(|word| &word.places) {
        words.entry(place.text).or_default().push(*place);
    }
    for places in words.values_mut() {
        places.sort_unstable();
    }
    let of_text = |text: usize| words.get(&text).map(Vec::as_slice).unwrap_or_default();
    let mut topics = Page::default();
    for (at, topic) in said.topics().filter(|(_, topic)| !topic.trim().is_empty()) {
        if !topics.text.is_empty() {
            topics.text.push_str(BETWEEN);
        }
        topics.push(topic, of_text(at));
    }
    let mut pages = vec![topics];
    for (at, turn) in said.turns().rev() {
        let mut page = Page::default();
        page.push(turn, of_text(at));
        pages.push(page);
    }
    pages
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
