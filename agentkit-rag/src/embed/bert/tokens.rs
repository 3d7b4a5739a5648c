//! Text to token ids, in time and memory bounded by what is needed of a long text.

use std::ops::Range;
use std::path::Path;

use agentkit_core::{Error, ErrorKind, Result, RunContext};
use tokenizers::Tokenizer;

use super::counts::Counts;

/// Text is tokenised in pieces of about this size, cut before white space, where the BERT family's
/// pre-tokenizers split anyhow; a piece of a text costs some sixteen times its size in memory.
const PIECE_BYTES: usize = 8 << 10;
/// A run without any white space is cut here at the latest.
const LONGEST_PIECE_BYTES: usize = 64 << 10;

/// What the BERT family calls what its vocabulary does not have.
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];
/// Longer words are counted anew each time.
const LONGEST_KNOWN_WORD: usize = 64;

/// A tokenizer with the special tokens it puts around a text.
#[derive(Debug)]
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    head: Vec<u32>,
    tail: Vec<u32>,
    longest: usize,
    counts: Counts,
    /// The token that stands for what the vocabulary does not have.
    unknown: Option<u32>,
}

/// The beginning of a text as tokens.
pub(super) struct Beginning<'t> {
    text: &'t str,
    encoding: tokenizers::Encoding,
    unknown: Option<u32>,
}

/// A token of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    /// What it stands for.
    pub(super) text: &'t str,
    /// Which word it is part of.
    pub(super) word: Option<u32>,
    /// Whether the vocabulary has it.
    pub(super) known: bool,
}

impl<'t> Beginning<'t> {
    /// Their ids, and which bytes of the text each stands for.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let places = self.encoding.get_offsets().iter().map(|(start, end)| *start..*end);
        self.encoding.get_ids().iter().copied().zip(places)
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = Token<'t>> {
        let encoding = &self.encoding;
        let parts = encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_word_ids());
        parts.map(|((id, (start, end)), word)| Token {
            text: self.text.get(*start..*end).unwrap_or_default(),
            word: *word,
            known: Some(*id) != self.unknown,
        })
    }
}

impl Tokens {
    /// Reads a `tokenizer.json`; its own truncation and padding are overridden.
    pub(super) fn new(file: &Path, bytes: &[u8], max_tokens: usize) -> Result<Self> {
        let corrupt =
            |error| Error::corrupt(format!("{} is not a tokenizer", file.display())).with_source(error);
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(corrupt)?;
        tokenizer.with_truncation(None).map_err(corrupt)?;
        tokenizer.with_padding(None);
        let bare = tokenizer.encode_fast("a", false).map_err(corrupt)?.get_ids().to_vec();
        let dressed = tokenizer.encode_fast("a", true).map_err(corrupt)?.get_ids().to_vec();
        let at = dressed.windows(bare.len().max(1)).position(|window| window == bare).ok_or_else(|| {
            let message = format!("{} wraps texts in an unknown way", file.display());
            Error::new(ErrorKind::Unsupported, message)
        })?;
        let (head, rest) = dressed.split_at(at);
        let (_, tail) = rest.split_at(bare.len());
        if head.len() + tail.len() >= max_tokens {
            return Err(Error::corrupt(format!("{} leaves no room for text", file.display())));
        }
        Ok(Self {
            head: head.to_vec(),
            tail: tail.to_vec(),
            unknown: UNKNOWN.iter().find_map(|token| tokenizer.token_to_id(token)),
            tokenizer,
            longest: max_tokens,
            counts: Counts::default(),
        })
    }

    /// The largest id a text can have, for a check against the model's vocabulary.
    pub(super) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Ids of `prompt` and `text` with special tokens, cut to the longest the model takes.
    pub(super) fn encode(&self, prompt: &str, text: &str, ctx: &RunContext) -> Result<Vec<u32>> {
        let room = self.longest - self.head.len() - self.tail.len();
        let joined;
        let text = if prompt.is_empty() {
            text
        } else {
            joined = format!("{prompt}{text}");
            &joined
        };
        let ids = self.bare(text, room, ctx)?;
        Ok([self.head.as_slice(), &ids, &self.tail].concat())
    }

    /// Ids of two texts with special tokens, and where the second begins. Both are cut to what the model takes
    /// together, the longer one first.
    pub(super) fn encode_pair(
        &self,
        first: &str,
        second: &str,
        ctx: &RunContext,
    ) -> Result<(Vec<u32>, usize)> {
        let room = self.longest.saturating_sub(self.head.len() + 2 * self.tail.len());
        let mut first = self.bare(first, room, ctx)?;
        let mut second = self.bare(second, room, ctx)?;
        let (shorter, longer) =
            if first.len() <= second.len() { (&mut first, &mut second) } else { (&mut second, &mut first) };
        let left = room.saturating_sub(shorter.len()).max(room.div_ceil(2));
        longer.truncate(left);
        shorter.truncate(room - longer.len());
        let ids = [self.head.as_slice(), &first, &self.tail, &second, &self.tail].concat();
        let at = self.head.len() + first.len() + self.tail.len();
        Ok((ids, at))
    }

    /// The special tokens before and behind a text.
    pub(super) fn around(&self) -> (&[u32], &[u32]) {
        (&self.head, &self.tail)
    }

    /// Most tokens of a text, with special ones.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Ids of `text` without special tokens, at most `room`.
    fn bare(&self, text: &str, room: usize, ctx: &RunContext) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for piece in Pieces(text) {
            ctx.check()?;
            ids.extend_from_slice(self.ids(piece)?.get_ids());
            if ids.len() >= room {
                break;
            }
        }
        ids.truncate(room);
        Ok(ids)
    }

    /// Tokens of all of `text`, without special tokens.
    ///
    /// Words are counted one by one, because a text has few different ones.
    pub(super) fn count(&self, text: &str) -> usize {
        Words(text)
            .map(|word| match word.len() {
                ..=LONGEST_KNOWN_WORD => self.counts.get_or(word, |word| self.count_piece(word)),
                _ => Pieces(word).map(|piece| self.count_piece(piece)).sum(),
            })
            .sum()
    }

    /// Any text can be tokenised; should a model's tokenizer fail, one token for four bytes is the usual ratio.
    fn count_piece(&self, piece: &str) -> usize {
        self.ids(piece).map_or(piece.len() / 4, |encoding| encoding.len())
    }

    /// The first part of `text` as tokens, without special ones.
    pub(super) fn beginning<'t>(&self, text: &'t str) -> Result<Beginning<'t>> {
        let piece = Pieces(text).next().unwrap_or_default();
        let encoding = self.tokenizer.encode(piece, false).map_err(failed)?;
        Ok(Beginning { text: piece, encoding, unknown: self.unknown })
    }

    fn ids(&self, piece: &str) -> Result<tokenizers::Encoding> {
        self.tokenizer.encode_fast(piece, false).map_err(failed)
    }
}

fn failed(error: tokenizers::Error) -> Error {
    Error::internal("tokenise a text").with_source(error)
}

/// Cuts a text into pieces that tokenise as the whole does.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let (piece, rest) = self.0.split_at(cut(self.0));
        self.0 = rest;
        Some(piece)
    }
}

/// Cuts a text before the white space in front of each word.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.0.find(|c: char| !c.is_whitespace()).unwrap_or(self.0.len());
        let rest = self.0.get(start..).unwrap_or_default();
        let end = start + rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(word).filter(|word| !word.is_empty())
    }
}

fn cut(text: &str) -> usize {
    if text.len() <= PIECE_BYTES {
        return text.len();
    }
    let start = boundary(text, PIECE_BYTES);
    let limit = boundary(text, LONGEST_PIECE_BYTES);
    let space = |range: &str| range.find(char::is_whitespace);
    let later = text.get(start..limit).and_then(space);
    later.map_or(limit, |at| start + at)
}

/// The last character boundary up to `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_make_up_the_text() {
        for text in ["", " ", "a", " a  b\u{3000}c\n", "\u{a0}x "] {
            assert_eq!(Words(text).collect::<String>(), text);
        }
        assert_eq!(Words("one two\nthree ").collect::<Vec<_>>(), ["one", " two", "\nthree", " "]);
    }

    #[test]
    fn pieces_make_up_the_text_and_are_bounded() {
        let words = "word ".repeat(10_000);
        let run = "é".repeat(200_000);
        for text in ["", "short", &words, &run, &format!("{words}{run}{words}")] {
            let pieces: Vec<_> = Pieces(text).collect();
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= LONGEST_PIECE_BYTES));
        }
        assert!(Pieces(&words).skip(1).all(|piece| piece.starts_with(' ')));
    }
}
