//! Answers that are JSON of a schema: which tokens may come next.
//!
//! Why own: the library there is turns on a feature of `serde_json` that changes the order of members in the whole
//! program. How: a schema becomes nodes, a machine walks on them byte by byte, and before a token is chosen those that
//! the machine does not take lose their score.

mod compile;
mod machine;
mod number;

use agentkit_core::{Error, Result};
use serde_json::Value;

use self::compile::{Compiler, Id, Node};
use self::machine::{Machine, Stack};
use super::vocabulary::Vocabulary;

/// How many of the likeliest tokens are tried first; below them a token is chosen only if none of them fits.
const LIKELIEST: usize = 256;

/// A compiled schema and how far an answer has come with it.
#[derive(Debug, Clone)]
pub(super) struct Constraint {
    nodes: Vec<Node>,
    states: Vec<Stack>,
}

impl Constraint {
    /// An answer that has not begun.
    ///
    /// # Errors
    /// Invalid input, if it is no schema or allows nothing; unsupported, naming the keyword that is not kept.
    pub(super) fn new(schema: &Value) -> Result<Self> {
        let mut compiler = Compiler::new(schema);
        let root: Id = compiler.compile()?;
        Ok(Self { states: Machine::start(root), nodes: compiler.nodes })
    }

    fn machine(&self) -> Machine<'_> {
        Machine { nodes: &self.nodes }
    }

    /// Whether nothing may follow.
    pub(super) fn is_over(&self) -> bool {
        self.states.iter().all(Vec::is_empty)
    }

    /// Takes what was said.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.states = self.machine().read(&self.states, bytes);
    }

    fn allows(&self, bytes: &[u8]) -> bool {
        !self.machine().read(&self.states, bytes).is_empty()
    }

    /// Leaves a score to tokens only that may come next.
    ///
    /// # Errors
    /// Invalid input, if none may: the schema leads to where no value ends.
    pub(super) fn restrict(&self, scores: &mut [f32], vocabulary: &Vocabulary) -> Result<()> {
        let may_end = self.machine().may_end(&self.states);
        let begins: Vec<bool> = (0..=u8::MAX).map(|byte| self.allows(&[byte])).collect();
        let mut likely = Vec::new();
        for (token, score) in (0_u32..).zip(scores.iter_mut()) {
            let possible = match vocabulary.bytes(token).first() {
                None => may_end && vocabulary.is_end(token),
                Some(first) => begins.get(usize::from(*first)).copied().unwrap_or(false),
            };
            if possible && score.is_finite() {
                likely.push((token, *score));
            }
            *score = f32::NEG_INFINITY;
        }
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if likely.len() > LIKELIEST {
            likely.select_nth_unstable_by(LIKELIEST, order);
        }
        for tokens in likely.chunks(LIKELIEST) {
            let mut found = false;
            for (token, score) in tokens {
                if self.allows(vocabulary.bytes(*token)) {
                    found |= restore(scores, *token, *score);
                }
            }
            if found {
                return Ok(());
            }
        }
        Err(Error::invalid_input("the output schema led to where no value can end"))
    }
}

fn restore(scores: &mut [f32], token: u32, score: f32) -> bool {
    let place = usize::try_from(token).ok().and_then(|token| scores.get_mut(token));
    place.map(|place| *place = score).is_some()
}

#[cfg(test)]
mod tests;
