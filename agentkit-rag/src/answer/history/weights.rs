//! The fitted weights: how much each sign says that a word is needed.

use super::question::Asked;
use super::turns::Signs;

/// The log odds of a word without any sign.
const BASE: f32 = -4.068;
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
fn of_word(word: &Signs) -> [(bool, f32); 20] {
    let only_topic = word.turns == 0;
    [
        (word.last_answer, 1.00),
        (word.short_answer, -0.27),
        (word.answer_before, 0.06),
        (word.older_answer, -0.47),
        (word.last_question, 0.59),
        (word.first_question, 1.13),
        (word.first_answer, 0.37),
        (word.is_name, 1.11),
        (word.in_long_name, -0.11),
        (word.near, 0.35),
        (word.near && word.is_name, 0.36),
        (word.turns >= 2, 0.69),
        (word.turns >= 3, 0.12),
        (word.taken_up, 0.51),
        (only_topic, 1.20),
        (word.topic, 2.93),
        (word.other_topic, 0.14),
        (word.last_question && word.is_name, 0.74),
        (word.first_question && word.is_name, 0.50),
        (word.first_question && word.in_long_name, 0.31),
    ]
}

/// Signs of the question, alone and together with those of the word.
fn of_question(word: &Signs, asked: &Asked) -> [(bool, f32); 8] {
    [
        (asked.names, -0.36),
        (asked.terms.len() >= RICH, -0.24),
        (asked.more, 0.77),
        (asked.more && word.last_answer, 0.46),
        (asked.more && word.answer_before, 0.33),
        (asked.thing && word.last_answer, 0.25),
        (asked.terms.len() <= POOR && word.last_answer, 0.74),
        (asked.person && word.topic, 1.72),
    ]
}
