//! Which type of value a question asks for, and whether a sentence holds one.

/// The type of value a question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Anything.
    Any,
    /// A person, an organisation or a place: a name.
    Name,
    /// A date or a time.
    Time,
    /// An amount.
    Number,
}

/// Words that ask for a name.
const NAME: &[&str] = &[
    "who", "whom", "whose", "where", "wer", "wem", "wen", "wo", "quién", "quiénes", "dónde", "qui", "où",
    "chi", "dove", "quem", "onde", "waar",
];
/// Words that ask for a time.
const TIME: &[&str] = &["when", "wann", "cuándo", "quand", "quando", "wanneer"];
/// Phrases that ask for a time.
const TIME_PHRASES: &[&str] = &[
    "what year",
    "which year",
    "what date",
    "what time",
    "what day",
    "what month",
    "what century",
    "how long ago",
];
/// Phrases that ask for an amount.
const NUMBER_PHRASES: &[&str] = &[
    "how many",
    "how much",
    "how long",
    "how old",
    "how far",
    "how tall",
    "how high",
    "how large",
    "how big",
    "how often",
    "what percent",
    "what number",
    "wie viel",
    "wie oft",
    "wie lange",
    "wie hoch",
];
/// Words that ask for an amount.
const NUMBER: &[&str] = &[
    "cuánto", "cuánta", "cuántos", "cuántas", "combien", "quanto", "quanti", "quante", "quantos", "quantas",
    "hoeveel",
];
/// The same in scripts without spaces.
const UNSPACED: &[(&str, Asked)] = &[
    ("多少", Asked::Number),
    ("几个", Asked::Number),
    ("何时", Asked::Time),
    ("什么时候", Asked::Time),
    ("谁", Asked::Name),
    ("哪里", Asked::Name),
];
/// Amounts written as words.
const NUMBER_WORDS: &[&str] = &[
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
    "half",
    "hundred",
    "hundreds",
    "thousand",
    "thousands",
    "million",
    "millions",
    "billion",
    "dozen",
    "once",
    "twice",
    "none",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
];
/// Words of dates.
const TIME_WORDS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "century",
    "centuries",
    "decade",
    "today",
    "yesterday",
    "tomorrow",
    "spring",
    "summer",
    "autumn",
    "winter",
    "midnight",
    "noon",
    "januar",
    "februar",
    "märz",
    "mai",
    "juni",
    "juli",
    "oktober",
    "dezember",
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
    "siglo",
];

impl Asked {
    /// What `question` asks for.
    pub(super) fn by(question: &str) -> Self {
        let lower = question.to_lowercase();
        let words: Vec<&str> = words(&lower).collect();
        let plain = words.join(" ");
        let phrase = |phrases: &[&str]| phrases.iter().any(|phrase| plain.contains(phrase));
        let word = |list: &[&str]| words.iter().any(|word| list.contains(word));
        if phrase(TIME_PHRASES) || word(TIME) {
            Self::Time
        } else if phrase(NUMBER_PHRASES) || word(NUMBER) {
            Self::Number
        } else if word(NAME) {
            Self::Name
        } else {
            UNSPACED.iter().find(|(mark, _)| lower.contains(mark)).map_or(Self::Any, |(_, asked)| *asked)
        }
    }
}

/// Whether `sentence` holds a value of the asked type that is not of the question: `None` if any will do.
pub(super) fn has_value(asked: Asked, sentence: &str, is_new: &dyn Fn(&str) -> bool) -> Option<bool> {
    let digits = |word: &str| word.contains(|c: char| c.is_numeric());
    let listed = |word: &str, list: &[&str]| list.iter().any(|entry| entry.eq_ignore_ascii_case(word));
    match asked {
        Asked::Any => None,
        Asked::Name => {
            Some(words(sentence).skip(1).any(|word| word.starts_with(char::is_uppercase) && is_new(word)))
        }
        Asked::Number => {
            Some(words(sentence).any(|word| (digits(word) && is_new(word)) || listed(word, NUMBER_WORDS)))
        }
        Asked::Time => {
            Some(words(sentence).any(|word| (digits(word) && is_new(word)) || listed(word, TIME_WORDS)))
        }
    }
}

/// Whether the first word of `text` belongs to a date, like the name of a month.
pub(super) fn begins_with_date_word(text: &str) -> bool {
    words(text).next().is_some_and(|word| TIME_WORDS.iter().any(|entry| entry.eq_ignore_ascii_case(word)))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_ask_for_values_of_a_type() {
        for (question, asked) in [
            ("How many balls did he catch?", Asked::Number),
            ("In what year did it open?", Asked::Time),
            ("Who was it?", Asked::Name),
            ("Wann war das?", Asked::Time),
            ("他有多少分？", Asked::Number),
            ("Explain the commit", Asked::Any),
        ] {
            assert_eq!(Asked::by(question), asked, "{question}");
        }
    }

    #[test]
    fn values_of_the_question_itself_do_not_count() {
        let is_new = |word: &str| word != "2015" && word != "Norman";
        assert_eq!(has_value(Asked::Number, "In 2015 he had four.", &is_new), Some(true));
        assert_eq!(has_value(Asked::Number, "In 2015 he had some.", &is_new), Some(false));
        assert_eq!(has_value(Asked::Name, "Then Norman left.", &is_new), Some(false));
        assert_eq!(has_value(Asked::Name, "Then Luke left.", &is_new), Some(true));
    }
}
