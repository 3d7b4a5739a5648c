//! Making a follow-up question stand alone, by the words of the turns before it; no model is asked.
//!
//! Only what looks like a follow-up is touched, and only content words are added: pasting whole turns into a
//! query buries its meaning.

use agentkit_core::MAX_QUERY_BYTES;

use super::terms::{Lexicon, Term};

/// Most turns looked back.
const MAX_TURNS: usize = 3;
/// Most words added.
const MAX_ADDED: usize = 12;
/// A question with a pronoun and more content words than this is taken to stand alone.
const RICH: usize = 6;

/// Words that stand for something said before.
const PRONOUNS: &[&str] = &[
    "he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs", "that", "this",
    "these", "those", "there", "one", "ones", "another", "else", "former", "latter", "er", "sie", "es",
    "ihn", "ihm", "ihr", "ihre", "ihren", "sein", "seine", "davon", "dabei", "damit", "dort", "dieser",
    "diese", "dieses", "él", "ella", "ellos", "ellas", "eso", "esto", "esta", "ese", "esa", "su", "sus",
    "il", "elle", "ils", "elles", "ce", "cela", "他", "她", "它", "他们", "她们", "它们",
];
/// Beginnings of what goes on with the turn before.
const CONTINUATIONS: &[&str] = &[
    "and ",
    "but ",
    "also ",
    "what about",
    "how about",
    "what else",
    "why not",
    "or ",
    "so ",
    "then ",
    "und ",
    "aber ",
    "y ",
    "et ",
    "那",
    "还有",
];

/// `question` as it can be understood without the user's `earlier` turns, which are oldest first.
pub(super) fn standalone(question: &str, earlier: &[&str]) -> String {
    let added = missing(question, earlier);
    let extended = format!("{question} {added}");
    if added.is_empty() || extended.len() > MAX_QUERY_BYTES { question.to_owned() } else { extended }
}

/// The words of the user's `earlier` turns, oldest first, that `question` needs to be understood; mostly none.
pub(super) fn missing(question: &str, earlier: &[&str]) -> String {
    let lexicon = Lexicon::of(question);
    let mut known = lexicon.content(question);
    let mut added: Vec<&str> = Vec::new();
    let mut current = question;
    for turn in earlier.iter().rev().take(MAX_TURNS) {
        if !is_follow_up(current, &Lexicon::of(current).content(current)) {
            break;
        }
        for term in lexicon.content(turn) {
            let is_new = !known.iter().any(|other| other.text == term.text);
            if is_new && added.len() < MAX_ADDED {
                added.extend(turn.get(term.start..term.end));
                known.push(term);
            }
        }
        current = turn;
    }
    added.join(" ")
}

fn is_follow_up(question: &str, content: &[Term]) -> bool {
    let lower = question.trim().to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric());
    let unspaced = |pronoun: &&&str| !pronoun.is_ascii() && pronoun.chars().all(is_ideograph);
    let refers = words.any(|word| PRONOUNS.contains(&word))
        || PRONOUNS.iter().filter(unspaced).any(|pronoun| lower.contains(pronoun));
    content.len() <= 1
        || (content.len() <= RICH && refers)
        || CONTINUATIONS.iter().any(|c| lower.starts_with(c))
}

fn is_ideograph(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follow_ups_take_the_content_words_of_the_turn_before() {
        for (earlier, question, expected) in [
            (vec!["Who was Josh Norman?"], "How many balls did he intercept?", " Josh Norman"),
            (vec!["How do I install agentkit on Debian?"], "And on Windows?", " install agentkit Debian"),
            (vec!["Who wrote Faust?", "When was he born?"], "Where?", " born wrote Faust"),
            (vec!["Wer war Josh Norman?"], "Wann wurde er geboren?", " Josh Norman"),
            (vec!["约什·诺曼是谁？"], "他多大？", "约什"),
        ] {
            let standalone = standalone(question, &earlier);
            let added = standalone.strip_prefix(question).expect("the question stays as it is");
            assert!(added.contains(expected), "{question}: {added}");
        }
    }

    #[test]
    fn questions_that_stand_alone_stay_as_they_are() {
        let earlier = ["Who was Josh Norman?"];
        for question in [
            "How many points did the Panthers defense surrender?",
            "Explain the commit protocol of the index and what happens to its log files after compaction",
        ] {
            assert_eq!(standalone(question, &earlier), question);
        }
        assert_eq!(standalone("And why?", &[]), "And why?");
    }

    #[test]
    fn what_is_added_is_bounded() {
        let long = (0..1000).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(standalone("why it?", &[&long]).split(' ').count(), 2 + MAX_ADDED);
        let huge = "x".repeat(MAX_QUERY_BYTES);
        assert_eq!(standalone(&huge, &["Who was Josh Norman?"]), huge);
    }
}
