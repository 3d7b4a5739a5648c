//! What a question shows of what it leans on.

use std::collections::BTreeSet;

use crate::answer::terms::Lexicon;

/// Words that stand for a person, a thing, or several of either.
const PERSON: &[&str] = &[
    "he", "him", "his", "himself", "she", "her", "hers", "herself", "er", "ihn", "ihm", "él", "ella", "il",
    "elle", "lui", "他", "她",
];
const THING: &[&str] = &["it", "its", "itself", "es", "dessen", "ello", "它"];
const SEVERAL: &[&str] = &[
    "they",
    "them",
    "their",
    "theirs",
    "themselves",
    "ihnen",
    "deren",
    "ellos",
    "ellas",
    "ils",
    "elles",
    "leur",
    "leurs",
    "他们",
    "她们",
    "它们",
];
/// Words that ask for more than was said.
const MORE: &[&str] = &[
    "else",
    "other",
    "another",
    "others",
    "besides",
    "additional",
    "more",
    "sonst",
    "noch",
    "weitere",
    "weiteren",
    "andere",
    "anderen",
    "otro",
    "otra",
    "otros",
    "otras",
    "además",
    "autre",
    "autres",
    "encore",
    "其他",
    "还有",
];

/// Beginnings of what goes on with the turn before.
const GOING_ON: &[&str] = &[
    "and ",
    "but ",
    "also ",
    "what about",
    "how about",
    "what else",
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

/// A question as its signs.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a sign of its own")]
pub(super) struct Asked {
    /// Its content words, comparable.
    pub(super) terms: BTreeSet<String>,
    pub(super) pronoun: Option<Pronoun>,
    pub(super) person: bool,
    pub(super) thing: bool,
    pub(super) more: bool,
    /// Whether it begins as if it went on with something.
    pub(super) goes_on: bool,
    /// Whether it names something itself.
    pub(super) names: bool,
}

/// What the pronoun of a question stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pronoun {
    Person,
    Several,
    Thing,
}

impl Asked {
    pub(super) fn read(lexicon: &Lexicon, question: &str) -> Self {
        let content = lexicon.content(question);
        let first = lexicon.all(question).first().map_or(0, |term| term.start);
        let starts_upper = |start: usize| {
            question.get(start..).and_then(|rest| rest.chars().next()).is_some_and(char::is_uppercase)
        };
        let lower = question.to_lowercase();
        let says = |words| holds(&lower, words);
        let (person, several, thing) = (says(PERSON), says(SEVERAL), says(THING));
        let pronoun = if person {
            Some(Pronoun::Person)
        } else if several {
            Some(Pronoun::Several)
        } else {
            thing.then_some(Pronoun::Thing)
        };
        Self {
            names: content.iter().any(|term| term.start != first && starts_upper(term.start)),
            terms: content.into_iter().map(|term| term.text).collect(),
            pronoun,
            person,
            thing,
            more: says(MORE),
            goes_on: GOING_ON.iter().any(|beginning| lower.trim_start().starts_with(beginning)),
        }
    }
}

impl Pronoun {
    /// Whether a word, in lower case, is such a pronoun.
    pub(super) fn is(self, word: &str) -> bool {
        let words = match self {
            Self::Person => PERSON,
            Self::Several => SEVERAL,
            Self::Thing => THING,
        };
        words.contains(&word)
    }
}

/// Whether a text in lower case holds one of the words; those of scripts without spaces may stand anywhere.
fn holds(lower: &str, words: &[&str]) -> bool {
    let mut said = lower.split(|c: char| !c.is_alphanumeric());
    let unspaced = |word: &&&str| word.starts_with(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    said.any(|word| words.contains(&word)) || words.iter().filter(unspaced).any(|word| lower.contains(word))
}
