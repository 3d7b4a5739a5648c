//! Cutting a text into words, and runs of letters without spaces into overlapping pairs.

use std::borrow::Cow;
use std::vec;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization as _;

use super::script::{Class, class};

/// For whom a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The last letter of a run is indexed by itself as well, so that every letter begins a term.
    Documents,
    /// Pairs alone, unless there is but one letter.
    Queries,
}

/// Cuts text, normalised by NFKC, so that the same letters written in other ways are the same words.
#[derive(Debug, Clone)]
pub(super) struct Words {
    reader: Reader,
}

impl Words {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader }
    }
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream {
        let normalised: Cow<'_, str> =
            if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(text.nfkc().collect()) };
        let mut words = Vec::with_capacity(normalised.len() / 6 + 1);
        for (run, class) in runs(&normalised) {
            match class {
                Class::Spaced => words.push(run.to_owned()),
                Class::Unspaced => pairs(run, self.reader, &mut words),
                Class::Between => {}
            }
        }
        WordStream { words: words.into_iter(), token: Token::default() }
    }
}

/// The longest pieces of one class.
fn runs(text: &str) -> impl Iterator<Item = (&str, Class)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = class(rest.chars().next()?, Class::Between);
        let mut before = first;
        let ends = |c: char| {
            before = class(c, before);
            before != first
        };
        let end = rest.find(ends).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end)?;
        rest = after;
        Some((run, first))
    })
}

fn pairs(run: &str, reader: Reader, words: &mut Vec<String>) {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    words.extend(starts.windows(3).filter_map(|at| match at {
        [start, _, end] => run.get(*start..*end).map(str::to_owned),
        _ => None,
    }));
    if reader == Reader::Documents || starts.len() == 2 {
        words.extend(run.chars().next_back().map(String::from));
    }
}

/// The words of one text.
#[derive(Debug)]
pub(super) struct WordStream {
    words: vec::IntoIter<String>,
    token: Token,
}

impl TokenStream for WordStream {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        // It begins one below 0.
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text = word;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
