//! How many tokens a text has, without a tokenizer at hand.

/// About how many tokens `text` has, rather too many than too few.
///
/// Four ASCII letters or digits of a word count as one token, any other ASCII character as one, except single
/// spaces; other characters count by their length in UTF-8. Byte-level tokenizers find fewer in ordinary prose.
#[must_use]
pub fn estimate_tokens(text: &str) -> usize {
    let mut estimate = Estimate::default();
    text.chars().for_each(|c| estimate.add(c));
    estimate.tokens
}

/// The longest start of `text` that has at most `max_tokens` by [`estimate_tokens`].
///
/// # Examples
/// ```
/// use agentkit_core::model::wire::truncate;
/// assert_eq!(truncate("green tea wants", 2), "green");
/// assert_eq!(truncate("green", 100), "green");
/// ```
#[must_use]
pub fn truncate(text: &str, max_tokens: usize) -> &str {
    let mut estimate = Estimate::default();
    let end = text.char_indices().find_map(|(at, c)| {
        estimate.add(c);
        (estimate.tokens > max_tokens).then_some(at)
    });
    text.get(..end.unwrap_or(text.len())).unwrap_or(text).trim_end()
}

#[derive(Default)]
struct Estimate {
    tokens: usize,
    word: usize,
    spaces: usize,
}

impl Estimate {
    fn add(&mut self, c: char) {
        self.spaces = if c == ' ' { self.spaces + 1 } else { 0 };
        self.word = if c.is_ascii_alphanumeric() { self.word + 1 } else { 0 };
        self.tokens += match c {
            ' ' => usize::from(self.spaces > 1),
            _ if c.is_ascii_alphanumeric() => usize::from(self.word % 4 == 1),
            _ if c.is_ascii() => 1,
            _ => c.len_utf8() - 1,
        };
    }
}
