//! How texts become the words BM25 counts, in every language and without being told which.
//!
//! How: a chunk's language is recognised when it is written, and its words are stemmed accordingly; scripts without spaces
//! become pairs of letters. A query is too short to be sure of, and a collection may hold several languages. So each word of
//! a query is treated in the way of every language the collection holds, and all forms that come out stand for that word.
//!
//! Always true: a chunk can be found by every word of its text that is no function word of its language, whether its
//! language was recognised rightly or not, because queries are treated in the way of the chunk's language too.

mod language;
mod script;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use tantivy::tokenizer::{
    BoxTokenStream, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
    TokenStream as _, Tokenizer,
};

pub(super) use self::language::{Language, languages_of};
use self::words::{Reader, Words};

/// Longest word in bytes that is indexed.
const MAX_WORD: usize = 64;
/// Name of the analyzer of format 1 in the schema on disk.
const ENGLISH_ONLY: &str = "agentkit_en_1";
/// Name of the analyzer of format 2; another analysis needs another name.
const MULTILINGUAL: &str = "agentkit_2";
/// Between the language and the text given to the analyzer of format 2; no text holds it.
const SEPARATOR: char = '\0';

static BY_LANGUAGE: LazyLock<Vec<[TextAnalyzer; 2]>> = LazyLock::new(|| {
    let both =
        |language: Language| [Reader::Documents, Reader::Queries].map(|reader| treat(language, reader));
    Language::all().map(both).collect()
});

/// Which analysis a text index was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Analysis {
    /// All words are taken for English; letters of scripts without spaces run together.
    EnglishOnly,
    /// Each chunk is treated in the way of its language.
    Multilingual,
}

/// A word of a query: the forms it has in the languages of the collection, none of them twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryWord {
    pub(super) forms: Vec<String>,
    /// The word itself in lower case.
    pub(super) written: String,
}

impl QueryWord {
    /// Whether it is a letter of a script without spaces, of which terms have two.
    pub(super) fn is_letter(&self) -> bool {
        let mut letters = self.written.chars();
        letters.next().is_some_and(script::is_unspaced) && letters.next().is_none()
    }
}

impl Analysis {
    /// The analyzer's name in the schema.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EnglishOnly => ENGLISH_ONLY,
            Self::Multilingual => MULTILINGUAL,
        }
    }

    /// The analyzer as Tantivy calls it while documents are written.
    pub(super) fn analyzer(self) -> TextAnalyzer {
        match self {
            Self::EnglishOnly => english_only(),
            Self::Multilingual => TextAnalyzer::builder(Multilingual::default()).build(),
        }
    }

    /// A text as the analyzer takes it.
    pub(super) fn marked(self, text: &str, language: Language) -> String {
        match self {
            Self::EnglishOnly => text.to_owned(),
            Self::Multilingual => format!("{}{SEPARATOR}{text}", language.code()),
        }
    }

    /// The words of a query that are no function words, in order, for a collection that holds `languages`.
    pub(super) fn query(self, text: &str, languages: &[Language]) -> Vec<QueryWord> {
        let read = self.read(text, languages);
        let written = match self {
            Self::EnglishOnly => Places::new(),
            Self::Multilingual => places(&mut Language::OTHER.analyzer(Reader::Queries), text),
        };
        // The language that knows most of the words as function words is the query's own; the first of equals. What it
        // drops is left out: another language would take it for a rare word.
        let Some(own) = read.iter().min_by_key(|words| words.len()) else { return Vec::new() };
        let mut seen = HashSet::new();
        let words = own.iter().map(|(place, form)| QueryWord {
            forms: read
                .iter()
                .filter_map(|words| words.get(place))
                .filter(|form| seen.insert((*form).clone()))
                .cloned()
                .collect(),
            written: written.get(place).unwrap_or(form).clone(),
        });
        words.filter(|word| !word.forms.is_empty()).collect()
    }

    /// The words of a query with their places, in the way of each of the languages; none of them twice.
    pub(super) fn phrases(self, text: &str, languages: &[Language]) -> Vec<Vec<(usize, String)>> {
        let mut phrases: Vec<Vec<(usize, String)>> =
            self.read(text, languages).into_iter().map(|words| words.into_iter().collect()).collect();
        phrases.sort();
        phrases.dedup();
        phrases
    }

    fn read(self, text: &str, languages: &[Language]) -> Vec<Places> {
        match self {
            Self::EnglishOnly => vec![places(&mut english_only(), text)],
            Self::Multilingual => languages
                .iter()
                .map(|language| places(&mut language.analyzer(Reader::Queries), text))
                .collect(),
        }
    }
}

/// The words that an analyzer keeps, by their place in the text.
type Places = BTreeMap<usize, String>;

fn places(analyzer: &mut TextAnalyzer, text: &str) -> Places {
    let mut words = Places::new();
    analyzer.token_stream(text).process(&mut |token| {
        words.insert(token.position, token.text.clone());
    });
    words
}

/// Words, lower case, English function words removed, English Snowball stems.
fn english_only() -> TextAnalyzer {
    finish(
        TextAnalyzer::builder(SimpleTokenizer::default()).filter(RemoveLongFilter::limit(MAX_WORD)).dynamic(),
        Some(tantivy::tokenizer::Language::English),
    )
}

/// Words in the way of one language.
fn treat(language: Language, reader: Reader) -> TextAnalyzer {
    let words = TextAnalyzer::builder(Words::new(reader)).filter(RemoveLongFilter::limit(MAX_WORD)).dynamic();
    finish(words, language.stemmer())
}

fn finish(
    words: tantivy::tokenizer::TextAnalyzerBuilder,
    language: Option<tantivy::tokenizer::Language>,
) -> TextAnalyzer {
    let words = words.filter_dynamic(LowerCaser);
    let Some(language) = language else { return words.build() };
    match StopWordFilter::new(language) {
        Some(stop_words) => words.filter_dynamic(stop_words).filter_dynamic(Stemmer::new(language)).build(),
        None => words.filter_dynamic(Stemmer::new(language)).build(),
    }
}

impl Language {
    fn analyzer(self, reader: Reader) -> TextAnalyzer {
        let both = BY_LANGUAGE.get(self.number());
        let analyzer = both.map(|[documents, queries]| match reader {
            Reader::Documents => documents,
            Reader::Queries => queries,
        });
        analyzer.cloned().unwrap_or_else(|| treat(self, reader))
    }
}

/// Reads the language in front of a text and treats the text in its way.
#[derive(Clone, Default)]
struct Multilingual {
    current: Option<(Language, TextAnalyzer)>,
}

impl Tokenizer for Multilingual {
    type TokenStream<'a> = BoxTokenStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> BoxTokenStream<'a> {
        let (code, text) = text.split_once(SEPARATOR).unwrap_or((Language::ENGLISH.code(), text));
        let language = Language::by_code(code).unwrap_or(Language::ENGLISH);
        if self.current.as_ref().is_none_or(|(current, _)| *current != language) {
            self.current = None;
        }
        let (_, analyzer) =
            self.current.get_or_insert_with(|| (language, language.analyzer(Reader::Documents)));
        analyzer.token_stream(text)
    }
}

#[cfg(test)]
mod tests;
