//! The fitted weights: how much each sign says that a word is needed.

use super::question::Asked;
use super::turns::Signs;

/// A question with this many content words says much itself, and one with no more than this little.
const RICH: usize = 4;
const POOR: usize = 1;

/// A weight for each way in which a conversation can be known, in the order of [`Known`].
type Weights = [f32; 3];
/// The log odds of a word without any sign.
const BASE: Weights = [-4.17, -1.01, -1.44];
/// How much the log odds of a reader count.
const READER: Weights = [0.0, 0.82, 0.67];
/// The log odds of a word that a reader did not come to.
const UNREAD: f32 = -6.0;

/// What else is known beside the signs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// Nothing.
    Signs,
    /// What a reader says of the word, if it came to it.
    Read(Option<f32>),
    /// The same, and the conversation has topics.
    ReadWithTopics(Option<f32>),
}

impl Known {
    /// Which of the weights hold, and what the reader says.
    fn column(self) -> (usize, f32) {
        match self {
            Self::Signs => (0, 0.0),
            Self::Read(odds) => (1, odds.unwrap_or(UNREAD)),
            Self::ReadWithTopics(odds) => (2, odds.unwrap_or(UNREAD)),
        }
    }
}

/// How probably a word with these signs is added to the question.
pub(super) fn probability(word: &Signs, asked: &Asked, known: Known) -> f32 {
    let (column, odds) = known.column();
    let weight = |weights: Weights| weights.get(column).copied().unwrap_or_default();
    let held =
        weighed(word, asked).filter(|(holds, _)| *holds).map(|(_, weights)| weight(weights)).sum::<f32>();
    let log_odds = weight(BASE) + weight(READER) * odds + held;
    1.0 / (1.0 + (-log_odds).exp())
}

/// Which signs hold, in the order of their weights.
#[cfg(test)]
pub(super) fn signs(word: &Signs, asked: &Asked) -> Vec<bool> {
    weighed(word, asked).map(|(holds, _)| holds).collect()
}

fn weighed(word: &Signs, asked: &Asked) -> impl Iterator<Item = (bool, Weights)> {
    of_word(word).into_iter().chain(of_question(word, asked))
}

/// Signs of the word alone.
fn of_word(word: &Signs) -> [(bool, Weights); 21] {
    [
        (word.last_answer, [0.93, 0.52, 0.97]),
        (word.short_answer, [-0.25, -0.46, -0.36]),
        (word.answer_before, [0.15, -0.05, 0.06]),
        (word.older_answer, [-0.43, -0.26, -0.28]),
        (word.last_question, [0.35, 0.42, 0.60]),
        (word.first_question, [1.19, 0.41, -0.10]),
        (word.first_answer, [0.38, 0.16, 0.10]),
        (word.only_exchange, [0.41, 0.02, 0.14]),
        (word.only_exchange && word.last_question, [-0.19, -0.11, -0.16]),
        (word.is_name, [1.16, 0.32, 0.08]),
        (word.in_long_name, [-0.11, -0.17, 0.15]),
        (word.near, [0.36, 0.27, 0.28]),
        (word.near && word.is_name, [0.30, 0.06, 0.11]),
        (word.turns >= 2, [0.69, 0.10, 0.15]),
        (word.turns >= 3, [0.23, 0.00, -0.06]),
        (word.taken_up, [0.50, 0.10, -0.22]),
        (word.turns == 0, [1.25, 0.00, 0.00]),
        (word.topic, [2.80, 0.00, 1.33]),
        (word.last_question && word.is_name, [0.27, -0.05, 0.12]),
        (word.first_question && word.is_name, [0.58, 0.01, -0.04]),
        (word.first_question && word.in_long_name, [0.23, 0.10, 0.00]),
    ]
}

/// Signs of the question, alone and together with those of the word.
fn of_question(word: &Signs, asked: &Asked) -> [(bool, Weights); 10] {
    [
        (asked.names, [-0.34, 0.01, -0.07]),
        (asked.terms.len() >= RICH, [-0.22, 0.05, 0.04]),
        (asked.goes_on, [0.59, 0.29, 0.20]),
        (asked.goes_on && word.is_name, [-0.81, -0.27, -0.18]),
        (asked.more, [0.78, 0.32, 0.36]),
        (asked.more && word.last_answer, [0.46, -0.01, 0.10]),
        (asked.more && word.answer_before, [0.29, 0.19, 0.32]),
        (asked.thing && word.last_answer, [0.23, 0.24, 0.32]),
        (asked.terms.len() <= POOR && word.last_answer, [0.79, 0.32, 0.49]),
        (asked.person && word.topic, [1.73, 0.00, 0.90]),
    ]
}
