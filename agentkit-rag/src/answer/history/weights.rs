//! The fitted weights: how much each sign says that a word is needed.

use super::question::Asked;
use super::turns::Signs;

/// The log odds of a word without any sign.
const BASE: f32 = -4.17;
/// A question with this many content words says much itself, and one with no more than this little.
const RICH: usize = 4;
const POOR: usize = 1;

/// How probably a word with these signs is added to the question.
pub(super) fn probability(word: &Signs, asked: &Asked) -> f32 {
    let all = of_word(word).into_iter().chain(of_question(word, asked));
    let log_odds = BASE + all.filter(|(holds, _)| *holds).map(|(_, weight)| weight).sum::<f32>();
    1.0 / (1.0 + (-log_odds).exp())
}

/// Signs of the word alone.
fn of_word(word: &Signs) -> [(bool, f32); 21] {
    [
        (word.last_answer, 0.93),
        (word.short_answer, -0.25),
        (word.answer_before, 0.15),
        (word.older_answer, -0.43),
        (word.last_question, 0.35),
        (word.first_question, 1.19),
        (word.first_answer, 0.38),
        (word.only_exchange, 0.41),
        (word.only_exchange && word.last_question, -0.19),
        (word.is_name, 1.16),
        (word.in_long_name, -0.11),
        (word.near, 0.36),
        (word.near && word.is_name, 0.30),
        (word.turns >= 2, 0.69),
        (word.turns >= 3, 0.23),
        (word.taken_up, 0.50),
        (word.turns == 0, 1.25),
        (word.topic, 2.80),
        (word.last_question && word.is_name, 0.27),
        (word.first_question && word.is_name, 0.58),
        (word.first_question && word.in_long_name, 0.23),
    ]
}

/// Signs of the question, alone and together with those of the word.
fn of_question(word: &Signs, asked: &Asked) -> [(bool, f32); 10] {
    [
        (asked.names, -0.34),
        (asked.terms.len() >= RICH, -0.22),
        (asked.goes_on, 0.59),
        (asked.goes_on && word.is_name, -0.81),
        (asked.more, 0.78),
        (asked.more && word.last_answer, 0.46),
        (asked.more && word.answer_before, 0.29),
        (asked.thing && word.last_answer, 0.23),
        (asked.terms.len() <= POOR && word.last_answer, 0.79),
        (asked.person && word.topic, 1.73),
    ]
}
