//! The content words of a conversation, with what is known of each.

use std::collections::{BTreeMap, BTreeSet};

use agentkit_core::{Conversation, Role};

use super::question::Asked;
use crate::answer::sentence::boundary_before;
use crate::answer::terms::Lexicon;

/// Most turns looked at, the latest, and most topics; and bytes of each.
const MAX_TURNS: usize = 20;
const MAX_TOPICS: usize = 8;
const MAX_BYTES: usize = 4_000;
/// An answer with no more distinct content words than this is short.
const SHORT: usize = 3;

/// What was said, and its words.
pub(super) struct Said {
    /// The turns, oldest first, and then the topics.
    texts: Vec<String>,
    turns: usize,
    pub(super) candidates: Vec<Candidate>,
}

/// A word that may be added.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Where it was said last.
    pub(super) place: Place,
    /// Everywhere it was said, in order.
    pub(super) places: Vec<Place>,
    pub(super) signs: Signs,
}

/// Bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) text: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What is known of a word.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a sign of its own")]
pub(super) struct Signs {
    pub(super) last_answer: bool,
    /// In the last answer, which has few words.
    pub(super) short_answer: bool,
    pub(super) answer_before: bool,
    pub(super) older_answer: bool,
    pub(super) last_question: bool,
    /// In the first question, and in the answer to it if there are more.
    pub(super) first_question: bool,
    pub(super) first_answer: bool,
    /// One question was asked before, at most.
    pub(super) only_exchange: bool,
    /// Turns that have it; none, if only a topic does.
    pub(super) turns: usize,
    pub(super) is_name: bool,
    /// A name beside another name.
    pub(super) in_long_name: bool,
    /// Beside a word of the question.
    pub(super) near: bool,
    /// Taken up in its turn by a pronoun like that of the question.
    pub(super) taken_up: bool,
    /// Of the first topic.
    pub(super) topic: bool,
}

impl Said {
    /// Reads the conversation for words that `asked` does not have.
    pub(super) fn read(lexicon: &Lexicon, asked: &Asked, before: &Conversation) -> Self {
        let mut turns: Vec<Turn> = before
            .turns()
            .rev()
            .take(MAX_TURNS)
            .map(|(role, text)| Turn::read(lexicon, role, short(&text)))
            .collect();
        turns.reverse();
        let common = turns.iter().flat_map(Turn::lower_terms).collect();
        let ranks = Ranks::of(&turns);
        let only_exchange = ranks.questions.len() <= 1;
        let mut words = Words { asked, common, only_exchange, found: BTreeMap::new() };
        for (at, turn) in turns.iter().enumerate() {
            words.take_turn(at, turn, &ranks);
        }
        let mut texts: Vec<String> = turns.into_iter().map(|turn| turn.text).collect();
        let turns = texts.len();
        for (at, topic) in before.topics.iter().take(MAX_TOPICS).enumerate() {
            words.take_topic(lexicon, texts.len(), short(topic), at == 0);
            texts.push(short(topic).to_owned());
        }
        Self { texts, turns, candidates: words.found.into_values().collect() }
    }

    /// The turns with their numbers, oldest first.
    pub(super) fn turns(&self) -> impl DoubleEndedIterator<Item = (usize, &str)> {
        self.texts.iter().map(String::as_str).enumerate().take(self.turns)
    }

    /// The topics with their numbers.
    pub(super) fn topics(&self) -> impl Iterator<Item = (usize, &str)> {
        self.texts.iter().map(String::as_str).enumerate().skip(self.turns)
    }

    /// A word as it was said.
    pub(super) fn text(&self, place: Place) -> &str {
        self.texts.get(place.text).and_then(|text| text.get(place.start..place.end)).unwrap_or_default()
    }

    /// The words in the order in which they were said; those that overlap, as letter pairs do, as one.
    pub(super) fn joined(&self, mut places: Vec<Place>) -> String {
        places.sort_unstable();
        let mut merged: Vec<Place> = Vec::new();
        for place in places {
            match merged.last_mut().filter(|last| last.text == place.text && place.start < last.end) {
                Some(last) => last.end = last.end.max(place.end),
                None => merged.push(place),
            }
        }
        merged.into_iter().map(|place| self.text(place)).collect::<Vec<_>>().join(" ")
    }
}

fn short(text: &str) -> &str {
    text.get(..boundary_before(text, MAX_BYTES)).unwrap_or_default()
}

/// A turn and its words, function words included.
struct Turn {
    role: Role,
    text: String,
    words: Vec<Word>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a sign of its own, none excludes another")]
struct Word {
    term: String,
    start: usize,
    end: usize,
    is_content: bool,
    /// Whether it begins with a capital, or in a script that has none.
    is_upper: bool,
    /// Whether a sentence may begin here, so that a capital says nothing.
    begins: bool,
    /// Whether only space, a full stop or a hyphen is between it and the word before.
    adjoins: bool,
    lower: String,
}

impl Turn {
    fn read(lexicon: &Lexicon, role: Role, text: &str) -> Self {
        let content: BTreeSet<usize> = lexicon.content(text).into_iter().map(|term| term.start).collect();
        let mut end = None;
        let mut words = Vec::new();
        for term in lexicon.all(text) {
            let said = text.get(term.start..term.end).unwrap_or_default();
            let gap = end.and_then(|end| text.get(end..term.start));
            words.push(Word {
                is_content: content.contains(&term.start),
                is_upper: said.starts_with(is_upper),
                begins: end.is_none() || gap.is_some_and(|gap| gap.contains(SENTENCE_MARKS)),
                adjoins: gap.is_some_and(|gap| matches!(gap.trim(), "" | "." | "-")),
                lower: said.to_lowercase(),
                term: term.text,
                start: term.start,
                end: term.end,
            });
            end = Some(term.end);
        }
        Self { role, text: text.to_owned(), words }
    }

    /// The words that occur without a capital.
    fn lower_terms(&self) -> impl Iterator<Item = String> + '_ {
        self.words.iter().filter(|word| !word.is_upper).map(|word| word.term.clone())
    }

    fn is_short(&self) -> bool {
        let content = self.words.iter().filter(|word| word.is_content);
        content.map(|word| word.term.as_str()).collect::<BTreeSet<_>>().len() <= SHORT
    }
}

fn is_upper(letter: char) -> bool {
    letter.is_alphabetic() && !letter.is_lowercase()
}

/// Before these a sentence or a quotation begins.
const SENTENCE_MARKS: [char; 10] = ['.', '!', '?', ':', ';', '"', '“', '(', '\n', '¿'];

/// Which turns are the last, the one before, and the first.
struct Ranks {
    answers: Vec<usize>,
    questions: Vec<usize>,
}

impl Ranks {
    fn of(turns: &[Turn]) -> Self {
        let of = |role| (0..).zip(turns).filter(|(_, turn)| turn.role == role).map(|(at, _)| at).collect();
        Self { answers: of(Role::Assistant), questions: of(Role::User) }
    }

    /// Notes in which turn a word is.
    fn mark(&self, signs: &mut Signs, at: usize, is_short: bool) {
        let from_end = |turns: &[usize]| turns.iter().rev().position(|turn| *turn == at);
        match from_end(&self.answers) {
            Some(0) => (signs.last_answer, signs.short_answer) = (true, is_short),
            Some(1) => signs.answer_before = true,
            Some(_) => signs.older_answer = true,
            None => signs.last_question |= from_end(&self.questions) == Some(0),
        }
        signs.first_question |= self.questions.first() == Some(&at);
        signs.first_answer |= self.answers.len() > 1 && self.answers.first() == Some(&at);
    }
}

/// The words found so far.
struct Words<'a> {
    asked: &'a Asked,
    /// Words that occur without a capital, which are no names at the beginning of a sentence.
    common: BTreeSet<String>,
    only_exchange: bool,
    found: BTreeMap<String, Candidate>,
}

impl Words<'_> {
    fn take_turn(&mut self, at: usize, turn: &Turn, ranks: &Ranks) {
        let is_short = turn.is_short();
        let pronoun = self.asked.pronoun;
        let taken_up = turn.words.iter().rposition(|word| pronoun.is_some_and(|kind| kind.is(&word.lower)));
        let mut here = BTreeSet::new();
        for (index, word) in turn.words.iter().enumerate() {
            if !word.is_content || self.asked.terms.contains(&word.term) {
                continue;
            }
            let before = index.checked_sub(1).and_then(|before| turn.words.get(before));
            let behind = turn.words.get(index + 1);
            let is_name = self.is_name(word);
            let beside_name = before.is_some_and(|other| word.adjoins && is_part(other))
                || behind.is_some_and(|other| other.adjoins && is_part(other));
            let near = [before, behind].into_iter().flatten().any(|w| self.asked.terms.contains(&w.term));
            let place = Place { text: at, start: word.start, end: word.end };
            let signs = self.signs(&word.term, place);
            signs.is_name |= is_name;
            signs.in_long_name |= is_name && beside_name;
            signs.near |= near;
            signs.taken_up |= word.is_upper && taken_up.is_some_and(|last| index < last);
            signs.turns += usize::from(here.insert(word.term.as_str()));
            ranks.mark(signs, at, is_short);
        }
    }

    fn take_topic(&mut self, lexicon: &Lexicon, at: usize, topic: &str, is_first: bool) {
        // What stands in brackets tells namesakes apart and is seldom said.
        let bracket = topic.find('(').filter(|_| is_first).unwrap_or(topic.len());
        for term in lexicon.content(topic) {
            if self.asked.terms.contains(&term.text) || term.start >= bracket {
                continue;
            }
            let place = Place { text: at, start: term.start, end: term.end };
            let signs = self.signs(&term.text, place);
            signs.topic |= is_first;
        }
    }

    fn signs(&mut self, term: &str, place: Place) -> &mut Signs {
        let signs = Signs { only_exchange: self.only_exchange, ..Signs::default() };
        let new = Candidate { place, places: Vec::new(), signs };
        let found = self.found.entry(term.to_owned()).or_insert(new);
        found.place = place;
        found.places.push(place);
        &mut found.signs
    }

    fn is_name(&self, word: &Word) -> bool {
        word.is_upper && (!word.begins || !self.common.contains(&word.term))
    }
}

/// Whether a word may be part of a name.
fn is_part(word: &Word) -> bool {
    word.is_upper && word.is_content
}
