//! Which letters are written without spaces between words.

use std::ops::RangeInclusive;

use unicode_normalization::char::is_combining_mark;

/// What a character is to the cutting of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Belongs to a word that ends at a space or sign.
    Spaced,
    /// Stands in a run of letters that may be several words, or part of a word that carries its endings with it.
    Unspaced,
    /// Belongs to no word.
    Between,
}

/// Blocks of Thai, Lao, Tibetan, Myanmar, Khmer, Chinese, Japanese and Korean letters, in order. Korean has spaces,
/// but endings stick to its words, which pairs of letters see through.
const UNSPACED: [RangeInclusive<char>; 17] = [
    '\u{0e00}'..='\u{0fff}',
    '\u{1000}'..='\u{109f}',
    '\u{1100}'..='\u{11ff}',
    '\u{1780}'..='\u{17ff}',
    '\u{2e80}'..='\u{2fdf}',
    '\u{3005}'..='\u{3007}',
    '\u{3021}'..='\u{3029}',
    '\u{3031}'..='\u{303c}',
    '\u{3041}'..='\u{3096}',
    '\u{309d}'..='\u{309f}',
    '\u{30a1}'..='\u{30fa}',
    '\u{30fc}'..='\u{31bf}',
    '\u{31f0}'..='\u{31ff}',
    '\u{3400}'..='\u{4dbf}',
    '\u{4e00}'..='\u{9fff}',
    '\u{a960}'..='\u{faff}',
    '\u{20000}'..='\u{3ffff}',
];

/// The class of `c`, which follows a character of class `before`.
pub(super) fn class(c: char, before: Class) -> Class {
    if c.is_ascii() {
        return if c.is_ascii_alphanumeric() { Class::Spaced } else { Class::Between };
    }
    match (c.is_alphanumeric(), is_combining_mark(c)) {
        (true, _) if is_unspaced(c) => Class::Unspaced,
        (true, _) => Class::Spaced,
        // A mark stays with the letter it changes.
        (false, true) => before,
        (false, false) => Class::Between,
    }
}

/// Whether the script of `c` is written without spaces.
pub(super) fn is_unspaced(c: char) -> bool {
    UNSPACED.iter().any(|block| block.contains(&c))
}
