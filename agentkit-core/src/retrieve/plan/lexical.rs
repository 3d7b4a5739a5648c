//! What counts as a match of words, and where.

use serde::{Deserialize, Serialize};

/// What of a passage counts as a word of the query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Matching {
    /// Any of the words.
    #[default]
    Terms,
    /// All of the words, next to each other and in order.
    Phrase,
    /// Any of the words, and of the last one also what begins with it, for searches while typing.
    Prefix,
    /// Any of the words, and what is so many letters away from one of more than four letters: added, left out, changed, or two
    /// next to each other swapped.
    Fuzzy {
        /// 1 or 2.
        #[serde(default = "one")]
        edits: u8,
    },
}

/// How much words count in the parts of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Boosts {
    /// In its text.
    pub text: f32,
    /// In its context: title and headings.
    pub context: f32,
}

impl Default for Boosts {
    fn default() -> Self {
        Self { text: 1.0, context: 1.0 }
    }
}

fn one() -> u8 {
    1
}
