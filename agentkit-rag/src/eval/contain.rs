//! Whether a text holds an answer, whatever its case and punctuation.

use unicode_segmentation::UnicodeSegmentation as _;

/// Whether `text` holds any of `answers` as a sequence of words: case, punctuation, English articles and the genitive are
/// passed over, as in the evaluation of SQuAD (Rajpurkar et al. 2016). An answer without words must stand in it as it is.
pub(super) fn holds_any(text: &str, answers: &[String]) -> bool {
    let text_words = words(text);
    answers.iter().any(|answer| {
        let wanted = words(answer);
        match wanted.len() {
            0 => !answer.trim().is_empty() && text.contains(answer.trim()),
            length => text_words.windows(length).any(|window| window == wanted),
        }
    })
}

fn words(text: &str) -> Vec<String> {
    let words = text.unicode_words().map(|word| {
        let word = word.to_lowercase().replace('’', "'");
        word.strip_suffix("'s").unwrap_or(&word).to_owned()
    });
    words.filter(|word| !matches!(word.as_str(), "a" | "an" | "the")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_and_not_their_dress() {
        for (text, answer, expected) in [
            ("They gave up just 308 points.", "308", true),
            ("They gave up 1308 points.", "308", false),
            ("It was Isaac Newton’s apple.", "the Isaac Newton", true),
            ("a 30-year-old theory", "30 year", true),
            ("Isaac was not Newton", "Isaac Newton", false),
            ("他以 136 次擒杀成为", "136 次", true),
            ("黑豹队的防守", "防守", true),
            ("a ½ of it", "½", true),
            ("nothing", "", false),
            ("", "x", false),
        ] {
            assert_eq!(holds_any(text, &[answer.to_owned()]), expected, "{answer:?} in {text:?}");
        }
        assert!(!holds_any("anything", &[]));
    }
}
