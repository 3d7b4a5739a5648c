//! How well a model's vocabulary knows the words of a text.
//!
//! Why: a model embeds any text, but of a language it was not trained for it has only letters and fragments, and the cosines of
//! such texts mean little without looking so. How: in writing with spaces a word counts if it begins a token, so that one cut into
//! three counts a third; in writing without spaces a token counts for as many words as it is likely to be. What is unknown
//! counts nothing.

use super::tokens::{Token, Tokens};

/// Letters that make about one word in writing that has neither spaces nor a letter for each word.
const LETTERS: f32 = 2.0;

/// The share of the words among the tokens of the beginning of `text`; 1 if there are none.
pub(super) fn share(tokens: &Tokens, text: &str) -> f32 {
    let Ok(beginning) = tokens.beginning(text) else { return 1.0 };
    let (mut all, mut known, mut last) = (0.0, 0.0, None);
    for token in beginning.tokens().filter(|token| token.text.chars().any(char::is_alphanumeric)) {
        all += 1.0;
        known += words(&token, token.word.is_some() && token.word == last);
        last = token.word;
    }
    if all > 0.0 { known / all } else { 1.0 }
}

/// How many words a token is, if it continues one or not.
fn words(token: &Token, continues: bool) -> f32 {
    if !token.known {
        return 0.0;
    }
    if token.text.chars().any(is_han) {
        return 1.0;
    }
    if token.text.chars().any(has_no_spaces) {
        let letters = token.text.chars().filter(|letter| letter.is_alphanumeric());
        return (letters.fold(0.0, |count, _| count + 1.0) / LETTERS).min(1.0);
    }
    if continues { 0.0 } else { 1.0 }
}

/// Whether this is a letter of Chinese writing, which may be a word.
fn is_han(letter: char) -> bool {
    matches!(letter, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether it is of Thai, Lao, Burmese, Khmer or Japanese writing.
fn has_no_spaces(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const VOCABULARY: &str = r###"{
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "decoder": null,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "green": 1, "tea": 2, "w": 3, "##as": 4, "##ser": 5, "?": 6, "茶": 7, "の": 8, "##の": 9, "a": 10}}
    }"###;

    fn share_of(text: &str) -> String {
        let tokens = Tokens::new(Path::new("tokenizer.json"), VOCABULARY.as_bytes(), 16).unwrap();
        share(&tokens, text).to_string()
    }

    #[test]
    fn whole_words_count_fragments_count_in_part_and_the_unknown_counts_nothing() {
        assert_eq!(share_of("Green tea?"), "1");
        assert_eq!(share_of("tea wasser"), "0.5", "two words of four tokens");
        assert_eq!(share_of("green ชา"), "0.5", "one of two is unknown");
        assert_eq!(share_of("ชาเขียว"), "0");
    }

    #[test]
    fn writing_without_spaces_is_measured_by_its_letters() {
        assert_eq!(share_of("茶茶"), "1");
        assert_eq!(share_of("茶水"), "0.5");
        assert_eq!(share_of("のの"), "0.5", "a letter of Japanese is about half a word");
    }

    #[test]
    fn what_has_no_words_says_nothing_against_the_model() {
        for text in ["", " ", "?!", "\u{0}"] {
            assert_eq!(share_of(text), "1", "{text:?}");
        }
        assert_eq!(share_of(&"tea ".repeat(100_000)), "1");
    }
}
