//! Counting tokens cheaply: words are counted once and remembered, so that sizing a candidate is a few look-ups.
//!
//! Splitting tries many candidates for each chunk, and a tokenizer call costs far more than the splitting. Word
//! tokenizers never join what white space separates, so the sum over words is their count; for others it is an
//! estimate, and the chunker checks every finished chunk by one exact call.

use std::cell::RefCell;
use std::collections::HashMap;

use text_splitter::ChunkSizer;

/// Longer words are rare and seldom repeated; they are counted each time.
const MAX_WORD_BYTES: usize = 48;
/// The memory is emptied when it holds this many words.
const MAX_WORDS: usize = 1 << 16;

/// Sizes text in tokens of the embedding model.
pub(super) struct TokenSizer<'a> {
    count: &'a dyn Fn(&str) -> usize,
    /// Longer text is too large for any chunk, whatever its tokens, and is not counted.
    max_bytes: usize,
    /// Word counts so far; `None` to count every text as a whole.
    words: Option<RefCell<HashMap<Box<str>, usize>>>,
}

impl<'a> TokenSizer<'a> {
    /// A sizer that adds up the words' counts.
    pub(super) fn adding_words(count: &'a dyn Fn(&str) -> usize, max_bytes: usize) -> Self {
        Self { count, max_bytes, words: Some(RefCell::default()) }
    }

    /// A sizer that counts each text as a whole.
    pub(super) fn exact(count: &'a dyn Fn(&str) -> usize, max_bytes: usize) -> Self {
        Self { count, max_bytes, words: None }
    }

    fn word(&self, words: &RefCell<HashMap<Box<str>, usize>>, word: &str) -> usize {
        if word.len() > MAX_WORD_BYTES {
            return (self.count)(word);
        }
        if let Some(known) = words.borrow().get(word) {
            return *known;
        }
        let tokens = (self.count)(word);
        let mut words = words.borrow_mut();
        if words.len() >= MAX_WORDS {
            words.clear();
        }
        words.insert(word.into(), tokens);
        tokens
    }
}

impl ChunkSizer for TokenSizer<'_> {
    fn size(&self, text: &str) -> usize {
        if text.len() > self.max_bytes {
            return text.len();
        }
        match &self.words {
            Some(words) => text.split_whitespace().map(|word| self.word(words, word)).sum(),
            None => (self.count)(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_word_is_counted_once_and_oversized_text_never() {
        let calls = Cell::new(0);
        let count = |text: &str| {
            calls.set(calls.get() + 1);
            text.chars().count().div_ceil(2)
        };
        let sizer = TokenSizer::adding_words(&count, 100);
        assert_eq!(sizer.size("tea cup tea  tea\ncup"), 10);
        assert_eq!(sizer.size(" \n"), 0);
        assert_eq!(calls.get(), 2);
        assert!(sizer.size(&"tea ".repeat(100)) > 100);
        assert_eq!(calls.get(), 2);
        assert_eq!(TokenSizer::exact(&count, 100).size("tea cup"), 4);
    }
}
