//! Words as questions and sentences are compared by: lower case, stemmed, folded, with bigrams for unspaced scripts.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::LazyLock;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter, TextAnalyzer, Token,
    TokenStream, Tokenizer,
};
use unicode_segmentation::{UnicodeSegmentation, UnicodeWordIndices};

/// Longest word in bytes that is compared; longer ones are data, not language.
const MAX_WORD_BYTES: usize = 128;

/// English function words, with those of questions; the list that comes with the stemmer lacks the latter.
const ENGLISH: &str = "a about after all also am an and any are as at be because been before being but by can could \
    did do does doing for from had has have having he her here hers him his how i if in into is it its just let \
    many may me might more most much must my no nor not of on only or other our ours out over own please same \
    shall she should so some such tell than that the their theirs them then there these they this those through \
    to too under until up upon us very was we were what what's when where which while who whom whose why will \
    with would you your yours it's that's who's i'm don't doesn't isn't didn't can't";

/// Question words missing from the other languages' lists.
const QUESTIONS: &str = "wer wem wen wessen wann wo wohin woher warum wieso weshalb wie was welche welcher welches \
    welchen viel viele gibt quién quiénes qué cuál cuáles cuándo dónde cuánto cuánta cuántos cuántas cómo quel \
    quelle quels quelles quand combien comment pourquoi où qui quoi chi cosa quando dove quanto quanti quante \
    come perché qual quais onde quantos quantas quem wanneer waar hoeveel waarom welke hoe 什么 多少 哪些 哪个 \
    哪里 怎么 怎样 如何 为什 何时 谁 几个 是谁 是什";

/// The languages with a list of function words, the likeliest first: ties go to the earlier one.
const LANGUAGES: [Language; 13] = [
    Language::English,
    Language::German,
    Language::French,
    Language::Spanish,
    Language::Italian,
    Language::Portuguese,
    Language::Dutch,
    Language::Swedish,
    Language::Danish,
    Language::Norwegian,
    Language::Finnish,
    Language::Hungarian,
    Language::Russian,
];

static LEXICONS: LazyLock<Vec<Lexicon>> = LazyLock::new(|| LANGUAGES.into_iter().map(Lexicon::new).collect());

/// How one language's words are made comparable.
#[derive(Clone)]
pub(super) struct Lexicon {
    language: Language,
    unstopped: TextAnalyzer,
    content: TextAnalyzer,
    all: TextAnalyzer,
}

/// A comparable word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    /// The comparable form.
    pub(super) text: String,
    /// First byte of the word in the text.
    pub(super) start: usize,
    /// One past its last byte.
    pub(super) end: usize,
}

impl Lexicon {
    /// The lexicon of the language `text` seems to be in: the one that knows most of its words as function words.
    pub(super) fn of(text: &str) -> Self {
        let guess = LEXICONS.iter().min_by_key(|lexicon| count(&mut lexicon.unstopped.clone(), text));
        guess.cloned().unwrap_or_else(|| Self::new(Language::English))
    }

    fn new(language: Language) -> Self {
        let own = match language {
            Language::English => None,
            other => StopWordFilter::new(other),
        };
        let stop = own.unwrap_or_else(|| remove(ENGLISH));
        let questions = match language {
            Language::English => {
                remove("什么 多少 哪些 哪个 哪里 怎么 怎样 如何 为什 何时 谁 几个 是谁 是什")
            }
            _ => remove(QUESTIONS),
        };
        let lower = || {
            TextAnalyzer::builder(Words::default())
                .filter(RemoveLongFilter::limit(MAX_WORD_BYTES))
                .filter(LowerCaser)
        };
        let stopped = || lower().filter(stop.clone()).filter(questions.clone());
        let stem = || Stemmer::new(language);
        Self {
            language,
            unstopped: stopped().build(),
            content: stopped().filter(stem()).filter(AsciiFoldingFilter).build(),
            all: lower().filter(stem()).filter(AsciiFoldingFilter).build(),
        }
    }

    pub(super) fn is_english(&self) -> bool {
        self.language == Language::English
    }

    /// The words of `text` that carry meaning.
    pub(super) fn content(&self, text: &str) -> Vec<Term> {
        collect(&mut self.content.clone(), text)
    }

    /// A reader that looks for `terms`. Stemming is what costs time, so words that begin with another ASCII
    /// letter are not stemmed.
    pub(super) fn reader(&self, terms: &[String]) -> Reader {
        let initials: Initials = terms.iter().filter_map(|term| term.bytes().next()).collect();
        let words = TextAnalyzer::builder(Words { initials: Some(initials) });
        let lower = words.filter(RemoveLongFilter::limit(MAX_WORD_BYTES)).filter(LowerCaser);
        Reader { analyzer: lower.filter(Stemmer::new(self.language)).filter(AsciiFoldingFilter).build() }
    }

    /// All words of `text`.
    pub(super) fn all(&self, text: &str) -> Vec<Term> {
        collect(&mut self.all.clone(), text)
    }
}

/// The content words of an English text, comparable.
pub(crate) fn content_words(text: &str) -> Vec<String> {
    let english = LEXICONS.first().cloned().unwrap_or_else(|| Lexicon::new(Language::English));
    english.content(text).into_iter().map(|term| term.text).collect()
}

/// Reads texts for words that may be among given ones.
pub(super) struct Reader {
    analyzer: TextAnalyzer,
}

impl Reader {
    /// All words of `text`; those that cannot be among the ones looked for come out blank.
    pub(super) fn read(&mut self, text: &str) -> Vec<Term> {
        collect(&mut self.analyzer, text)
    }
}

fn remove(words: &str) -> StopWordFilter {
    StopWordFilter::remove(words.split_whitespace().map(str::to_owned))
}

fn count(analyzer: &mut TextAnalyzer, text: &str) -> usize {
    let mut count = 0;
    analyzer.token_stream(text).process(&mut |_| count += 1);
    count
}

fn collect(analyzer: &mut TextAnalyzer, text: &str) -> Vec<Term> {
    let mut terms = Vec::with_capacity(text.len() / 6);
    analyzer.token_stream(text).process(&mut |token| {
        terms.push(Term { text: token.text.clone(), start: token.offset_from, end: token.offset_to });
    });
    terms
}

/// Splits at the word boundaries of Unicode Annex 29. Scripts written without spaces come out of that as single
/// letters next to each other; those are paired, so that they compare as overlapping bigrams.
#[derive(Debug, Clone, Default)]
struct Words {
    /// First bytes of the words wanted, others come out blank; `None` wants all.
    initials: Option<Initials>,
}

type Initials = BTreeSet<u8>;

struct WordStream<'a> {
    text: &'a str,
    initials: Option<&'a Initials>,
    words: Peekable<UnicodeWordIndices<'a>>,
    in_run: bool,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        let words = text.unicode_word_indices().peekable();
        WordStream { text, initials: self.initials.as_ref(), words, in_run: false, token: Token::default() }
    }
}

impl WordStream<'_> {
    /// The next token's byte range: a word, two adjoining letters, or a letter on its own.
    fn next_range(&mut self) -> Option<(usize, usize)> {
        loop {
            let (start, word) = self.words.next()?;
            let end = start + word.len();
            let pair = match self.words.peek() {
                Some((next, follower)) if is_letter(word) && *next == end && is_letter(follower) => {
                    Some(next + follower.len())
                }
                _ => None,
            };
            let already_paired = self.in_run && is_letter(word);
            self.in_run = pair.is_some();
            match pair {
                Some(end) => return Some((start, end)),
                None if already_paired => {}
                None => return Some((start, end)),
            }
        }
    }
}

impl WordStream<'_> {
    fn is_wanted(&self, word: &str) -> bool {
        let first = word.bytes().next().unwrap_or_default();
        self.initials.is_none_or(|wanted| !first.is_ascii() || wanted.contains(&first.to_ascii_lowercase()))
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((start, end)) = self.next_range() else { return false };
        self.token.offset_from = start;
        self.token.offset_to = end;
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text.clear();
        let word = self.text.get(start..end).unwrap_or_default();
        if self.is_wanted(word) {
            self.token.text.push_str(word);
        }
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// Whether a term is two letters of a script without spaces, rather than a word of two letters.
pub(super) fn is_pair(term: &str) -> bool {
    let unspaced = |c: char| c >= '\u{0e00}' && !('\u{ac00}'..='\u{d7a3}').contains(&c);
    term.chars().count() == 2 && term.chars().all(unspaced)
}

fn is_letter(word: &str) -> bool {
    !word.is_ascii() && word.chars().nth(1).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> String {
        let terms = Lexicon::of(text).content(text);
        terms.iter().map(|term| term.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn content_words_are_stemmed_in_the_language_of_the_question() {
        for (text, terms) in [
            ("How many interceptions did Norman's team have?", "intercept norman team"),
            ("Wie viele Häuser gibt es in der Stadt?", "haus stadt"),
            ("¿Cuántos puntos anotaron los jugadores?", "punt anot jugador"),
            ("what is max_tokens in v0.27.1", "max_token v0.27.1"),
            ("war in the north", "war north"),
        ] {
            assert_eq!(content(text), terms, "{text}");
        }
    }

    #[test]
    fn unspaced_scripts_become_bigrams_that_cover_every_letter() {
        assert_eq!(content("黑豹队 2015年"), "黑豹 豹队 2015 年");
        assert_eq!(content("防守"), "防守");
    }

    #[test]
    fn terms_know_where_they_stand() {
        let text = "Über die Städte";
        for term in Lexicon::of(text).all(text) {
            assert!(text.get(term.start..term.end).is_some_and(|word| !word.contains(' ')));
        }
    }
}
