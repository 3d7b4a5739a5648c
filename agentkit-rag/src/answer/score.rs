//! How well each sentence of the passages answers a question, by lexical evidence alone.
//!
//! A sentence earns the inverse sentence frequency (the IDF of BM25, Robertson and Zaragoza 2009, counted over
//! the sentences at hand) of every question word it holds; words found only close by (sentences before and
//! after, the heading, the title, the passage) count in part, since sentences lean on their surroundings by
//! pronouns. Question words side by side as in the question, a value of the asked type (a number for "how many")
//! and an early passage add to it. The weights are plain and few, and were chosen for no data set in particular.

use std::collections::HashMap;

use agentkit_core::{Passage, Span};

use super::sentence::{Unit, UnitKind, units};
use super::terms::{Lexicon, Reader, Term, is_pair};
use super::values::{Asked, has_value};

/// Most distinct words of a question that are compared.
const MAX_TERMS: usize = 48;
/// What a word counts that only shares its stem's beginning with the question's.
const SIMILAR: f32 = 0.5;
/// What a question word counts where it is not in the sentence itself.
const BEFORE: f32 = 0.45;
const TWO_BEFORE: f32 = 0.3;
const AFTER: f32 = 0.2;
const HEADING: f32 = 0.35;
const PASSAGE: f32 = 0.25;
/// What a word of the conversation counts beside the question's own.
const CONTEXT: f32 = 0.25;
/// What a pair of neighbouring question words adds, in average words.
const PAIR: f32 = 0.35;
/// Farthest apart, in words, that a pair still counts as neighbouring.
const PAIR_DISTANCE: usize = 3;
/// Factor for a value of the asked type, and for none.
const WITH_VALUE: f32 = 1.2;
const WITHOUT_VALUE: f32 = 0.85;
/// Factor for a sentence that says nothing beyond the question, or asks itself.
const NOTHING_NEW: f32 = 0.3;
/// How much the first passage is preferred to a far one.
const FIRST_PASSAGE: f32 = 0.15;

/// A question as its comparable words.
pub(super) struct Question {
    lexicon: Lexicon,
    terms: Vec<String>,
    /// How much each term counts.
    weights: Vec<f32>,
    asked: Asked,
}

/// What the passages hold for a question.
pub(super) struct Evidence {
    /// The units of all passages, in order of passage and position.
    pub(super) candidates: Vec<Candidate>,
    /// The largest share of the question's words that one passage holds: 0 to 1.
    pub(super) coverage: f32,
}

/// A unit with its score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Index of its passage.
    pub(super) passage: usize,
    /// The unit.
    pub(super) unit: Unit,
    /// How well it answers; comparable within one question.
    pub(super) score: f32,
}

impl Question {
    /// Reads a question; if it has function words only, those are its words.
    pub(super) fn new(text: &str) -> Self {
        let lexicon = Lexicon::of(text);
        let mut terms = distinct(lexicon.content(text));
        if terms.is_empty() {
            terms = distinct(lexicon.all(text));
        }
        let weights = vec![1.0; terms.len()];
        Self { lexicon, terms, weights, asked: Asked::by(text) }
    }

    /// Adds words of the conversation, which count less than the question's own.
    pub(super) fn with_context(mut self, text: &str) -> Self {
        for term in distinct(self.lexicon.content(text)) {
            if self.terms.len() < MAX_TERMS && !self.terms.contains(&term) {
                self.terms.push(term);
                self.weights.push(CONTEXT);
            }
        }
        self
    }

    /// The share of the question's words among `hits`. Here rarity does not count: a word that is in every
    /// passage found says most about what they are about. Every other letter pair joins the end of one word to
    /// the beginning of the next, and is not to be expected elsewhere.
    fn share(&self, hits: &[f32]) -> f32 {
        let due = |term: &String| if is_pair(term) { 0.5 } else { 1.0 };
        let all: f32 = self.weights.iter().zip(&self.terms).map(|(weight, term)| weight * due(term)).sum();
        let found: f32 = self.weights.iter().zip(hits).map(|(weight, hit)| weight * hit).sum();
        if all > 0.0 { (found / all).min(1.0) } else { 0.0 }
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

fn distinct(found: Vec<Term>) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    for term in found {
        if terms.len() < MAX_TERMS && !terms.contains(&term.text) {
            terms.push(term.text);
        }
    }
    terms
}

/// Weighs every unit of `passages`.
pub(super) fn weigh(question: &Question, passages: &[&Passage]) -> Evidence {
    let index: HashMap<&str, usize> =
        question.terms.iter().zip(0..).map(|(term, at)| (term.as_str(), at)).collect();
    let mut finder = Finder { question, index: &index, reader: question.lexicon.reader(&question.terms) };
    let read: Vec<Read> = passages.iter().map(|passage| Read::new(&mut finder, passage)).collect();
    let idf = Idf::of(&read, &question.weights);
    let mut candidates = Vec::new();
    let mut coverage = 0.0_f32;
    for (at, passage) in read.iter().enumerate() {
        let whole = passage.whole(question.terms.len());
        coverage = coverage.max(question.share(&whole));
        candidates.extend(passage.candidates(at, &whole, &idf));
    }
    Evidence { candidates, coverage }
}

/// The best unit of one passage for a question, if any holds a word of it.
pub(super) fn best_unit(question: &Question, passage: &Passage) -> Option<Span> {
    let evidence = weigh(question, &[passage]);
    let quotable = evidence.candidates.iter().filter(|candidate| candidate.score > 0.0);
    quotable.max_by(|a, b| a.score.total_cmp(&b.score)).map(|candidate| candidate.unit.span)
}

/// How rare each question word is among the sentences.
struct Idf {
    of_term: Vec<f32>,
    total: f32,
}

impl Idf {
    fn of(passages: &[Read], weights: &[f32]) -> Self {
        let count = passages.iter().map(|passage| passage.sentences.len()).sum::<usize>();
        let of_term: Vec<f32> = (0..)
            .zip(weights)
            .map(|(term, weight)| {
                let holders =
                    passages.iter().flat_map(|p| &p.sentences).filter(|s| at(&s.hits, term) >= 1.0).count();
                weight * rarity(count, holders)
            })
            .collect();
        Self { total: of_term.iter().sum(), of_term }
    }

    /// The words' weights, summed by rarity.
    fn sum(&self, hits: &[f32]) -> f32 {
        self.of_term.iter().zip(hits).map(|(idf, hit)| idf * hit).sum()
    }

    fn average(&self) -> f32 {
        self.total / to_f32(self.of_term.len().max(1))
    }
}

fn rarity(count: usize, holders: usize) -> f32 {
    let (count, holders) = (to_f32(count), to_f32(holders));
    ((count - holders + 0.5) / (holders + 0.5)).ln_1p()
}

/// Counts of words and sentences are far below what an `f32` holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^24")]
fn to_f32(count: usize) -> f32 {
    count as f32
}

fn at(weights: &[f32], index: usize) -> f32 {
    weights.get(index).copied().unwrap_or_default()
}

/// A passage with the question's words found in it.
struct Read {
    sentences: Vec<Sentence>,
    /// The words of the title and the headings above the passage.
    above: Vec<f32>,
}

struct Sentence {
    unit: Unit,
    /// For each question word: 1 if it is here, [`SIMILAR`] if a similar one is, else 0.
    hits: Vec<f32>,
    /// The words of the heading above.
    heading: Vec<f32>,
    /// Neighbouring pairs of question words.
    pairs: usize,
    words: usize,
    /// Whether there is a value of the asked type; `None` if none is asked for.
    value: Option<bool>,
    asks: bool,
}

impl Read {
    fn new(finder: &mut Finder, passage: &Passage) -> Self {
        let mut above = vec![0.0; finder.question.terms.len()];
        for title in passage.title.iter().chain(&passage.locator.heading_path) {
            let terms = finder.reader.read(title);
            finder.mark(&terms, &mut above);
        }
        let terms = finder.reader.read(&passage.text);
        let mut rest = terms.as_slice();
        let mut heading = above.clone();
        let mut sentences = Vec::new();
        for unit in units(&passage.text) {
            let first = rest.partition_point(|term| term.start < unit.span.start);
            let last = rest.partition_point(|term| term.start < unit.span.end);
            let sentence =
                finder.read(unit, rest.get(first..last).unwrap_or_default(), &passage.text, &heading);
            rest = rest.get(last..).unwrap_or_default();
            if unit.kind == UnitKind::Heading {
                heading.clone_from(&above);
                raise(&mut heading, &sentence.hits, 1.0);
            }
            sentences.push(sentence);
        }
        Self { sentences, above }
    }

    /// The question's words anywhere in or above the passage.
    fn whole(&self, terms: usize) -> Vec<f32> {
        let mut whole = vec![0.0; terms];
        raise(&mut whole, &self.above, 1.0);
        for sentence in &self.sentences {
            raise(&mut whole, &sentence.hits, 1.0);
        }
        whole
    }

    fn candidates(&self, passage: usize, whole: &[f32], idf: &Idf) -> Vec<Candidate> {
        let words: usize = self.sentences.iter().map(|sentence| sentence.words).sum();
        let usual = to_f32(words) / to_f32(self.sentences.len().max(1));
        let prior = 1.0 + FIRST_PASSAGE / to_f32(passage + 1);
        let near = |at: Option<usize>| at.and_then(|at| self.sentences.get(at)).map(|s| s.hits.as_slice());
        let score = |(at, sentence): (usize, &Sentence)| {
            let mut hits = sentence.hits.clone();
            raise(&mut hits, near(at.checked_sub(1)).unwrap_or_default(), BEFORE);
            raise(&mut hits, near(at.checked_sub(2)).unwrap_or_default(), TWO_BEFORE);
            raise(&mut hits, near(Some(at + 1)).unwrap_or_default(), AFTER);
            raise(&mut hits, &sentence.heading, HEADING);
            raise(&mut hits, whole, PASSAGE);
            let score = idf.sum(&hits) + PAIR * idf.average() * to_f32(sentence.pairs);
            Candidate { passage, unit: sentence.unit, score: score * prior * sentence.factor(usual) }
        };
        self.sentences.iter().enumerate().map(score).collect()
    }
}

impl Sentence {
    /// What speaks for or against the sentence whatever words it holds; `usual` is the usual number of words.
    fn factor(&self, usual: f32) -> f32 {
        if self.unit.kind == UnitKind::Heading {
            return 0.0;
        }
        let value = match self.value {
            Some(true) => WITH_VALUE,
            Some(false) => WITHOUT_VALUE,
            None => 1.0,
        };
        let known = self.hits.iter().filter(|hit| **hit > 0.0).count();
        let new = if self.asks || self.words <= known + 1 { NOTHING_NEW } else { 1.0 };
        let length = 0.85 + 0.15 * to_f32(self.words) / usual.max(1.0);
        value * new / length
    }
}

/// Finds the question's words in other text.
struct Finder<'q> {
    question: &'q Question,
    index: &'q HashMap<&'q str, usize>,
    reader: Reader,
}

impl Finder<'_> {
    fn read(&self, unit: Unit, terms: &[Term], text: &str, heading: &[f32]) -> Sentence {
        let mut hits = vec![0.0; self.question.terms.len()];
        let pairs = self.mark(terms, &mut hits);
        let quote = unit.span.slice(text).unwrap_or_default();
        let new = |word: &str| {
            let word = word.to_lowercase();
            !self.question.terms.iter().any(|term| word.starts_with(term.as_str()))
        };
        Sentence {
            unit,
            hits,
            heading: heading.to_vec(),
            pairs,
            words: terms.len(),
            value: has_value(self.question.asked, quote, &new),
            asks: quote.ends_with(['?', '？']),
        }
    }

    /// Raises the weights of the words found; gives the number of neighbouring pairs.
    fn mark(&self, terms: &[Term], hits: &mut [f32]) -> usize {
        let mut pairs = 0;
        let mut last: Option<(usize, usize)> = None;
        for (position, term) in terms.iter().enumerate() {
            let Some((found, weight)) = self.find(&term.text) else { continue };
            if let Some(hit) = hits.get_mut(found) {
                *hit = hit.max(weight);
            }
            let follows =
                |(at, before): (usize, usize)| found == before + 1 && position - at <= PAIR_DISTANCE;
            pairs += usize::from(last.is_some_and(follows));
            last = Some((position, found));
        }
        pairs
    }

    fn find(&self, word: &str) -> Option<(usize, f32)> {
        if word.is_empty() {
            return None;
        }
        if let Some(found) = self.index.get(word) {
            return Some((*found, 1.0));
        }
        self.question.terms.iter().position(|term| similar(term, word)).map(|found| (found, SIMILAR))
    }
}

/// Whether two stems share all but their last letters, like "invent" and "inventor".
fn similar(a: &str, b: &str) -> bool {
    const SHARED: usize = 5;
    let (shorter, longer) = (a.len().min(b.len()), a.len().max(b.len()));
    if shorter < SHARED || longer - shorter > 4 || a.as_bytes().first() != b.as_bytes().first() {
        return false;
    }
    let shared = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    shared >= SHARED && shared + 1 >= shorter
}

/// Raises each weight to `factor` times the other, if that is more.
fn raise(weights: &mut [f32], others: &[f32], factor: f32) {
    for (weight, other) in weights.iter_mut().zip(others) {
        *weight = weight.max(other * factor);
    }
}

#[cfg(test)]
mod tests {
    use agentkit_core::{ChunkId, DocumentId, Locator};

    use super::*;

    fn passage(text: &str) -> Passage {
        Passage {
            chunk_id: ChunkId::new("c").unwrap(),
            document_id: DocumentId::new("d").unwrap(),
            title: None,
            text: text.into(),
            span: Span::new(0, text.len()),
            locator: Locator::default(),
        }
    }

    fn best(question: &str, text: &str) -> String {
        let passage = passage(text);
        let span = best_unit(&Question::new(question), &passage).expect("something is found");
        span.slice(text).unwrap().to_owned()
    }

    #[test]
    fn the_sentence_with_the_words_and_the_value_wins() {
        let text = "Norman joined in 2012. Norman is a cornerback. He intercepted four balls that season. It rained.";
        assert_eq!(
            best("How many balls did Norman intercept?", text),
            "He intercepted four balls that season."
        );
        assert_eq!(best("When did Norman join?", text), "Norman joined in 2012.");
    }

    #[test]
    fn a_heading_lends_its_words_but_is_not_quoted() {
        let text = "# Usage\nSee the manual for it.\n# Installation\nRun the setup program as root.\n";
        assert_eq!(best("installation?", text), "Run the setup program as root.");
    }

    #[test]
    fn the_answer_is_preferred_to_the_question_in_a_list_of_questions() {
        let text = "How do I reset the device? Hold the button of the device for ten seconds. It is blue.";
        assert_eq!(best("how do I reset the device", text), "Hold the button of the device for ten seconds.");
    }

    #[test]
    fn coverage_tells_whether_the_passages_speak_of_the_question() {
        let passage = passage("The index is made of segments. A commit makes them visible.");
        let coverage = |question: &str| weigh(&Question::new(question), &[&passage]).coverage;
        assert!(coverage("what are segments of the index?") > 0.9);
        assert!(coverage("who won the football game in Paris?") < 0.1);
    }

    #[test]
    fn chinese_is_answered_by_bigrams() {
        let text = "黑豹队的防守只丢了308分。卢克登记了118次抢断。";
        assert_eq!(best("卢克登记了多少次抢断？", text), "卢克登记了118次抢断。");
    }
}
