//! Searching for several wordings of a question at once.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::ask::Task;
use super::{QueryRewriter, WeightedQuery};
use crate::context::RunContext;
use crate::error::Result;
use crate::model::ChatModel;
use crate::retrieve::SearchRequest;

/// Wordings searched for beside the question unless told otherwise, and the most there may be.
const WORDINGS: usize = 3;
const MAX_WORDINGS: usize = 8;
/// Shortest text that counts as a wording, in bytes; shorter lines are markers and noise.
const MIN_BYTES: usize = 3;

/// Has a chat model word the question in other ways and fuses what all wordings find; the question itself is
/// among them.
#[derive(Clone)]
pub struct MultiQuery {
    model: Arc<dyn ChatModel>,
    wordings: usize,
    weight: f32,
}

impl MultiQuery {
    /// Asks `model` for three wordings.
    #[must_use]
    pub fn new(model: Arc<dyn ChatModel>) -> Self {
        Self { model, wordings: WORDINGS, weight: 0.5 }
    }

    /// How many wordings to ask for, 1 to 8; 3 by default.
    #[must_use]
    pub fn wordings(mut self, wordings: usize) -> Self {
        self.wordings = wordings.clamp(1, MAX_WORDINGS);
        self
    }

    /// How much each wording counts beside the question, which counts 1; 0.5 by default.
    #[must_use]
    pub fn weight(mut self, weight: f32) -> Self {
        self.weight = weight;
        self
    }
}

#[async_trait]
impl QueryRewriter for MultiQuery {
    fn name(&self) -> &'static str {
        "multi_query"
    }

    async fn rewrite(&self, request: &SearchRequest, ctx: &RunContext) -> Result<Vec<WeightedQuery>> {
        let instructions = format!(
            "Write the question in {} other ways, each on a line of its own, with other words for the same things. \
             Write in the question's language. Reply with those lines only.",
            self.wordings
        );
        let task = Task { instructions: &instructions, max_tokens: 300, with_conversation: false };
        let answer = task.ask(&*self.model, request, ctx).await?;
        let mut queries = vec![WeightedQuery::new(request.text.as_str())];
        for line in answer.lines().map(without_number) {
            let is_new = queries.iter().all(|query| query.text != line);
            if line.len() >= MIN_BYTES && is_new && queries.len() <= self.wordings {
                queries.push(WeightedQuery::new(line).weight(self.weight));
            }
        }
        Ok(queries)
    }
}

/// A line without the number or bullet that models like to begin it with.
fn without_number(line: &str) -> &str {
    let line = line.trim();
    let bare = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let item = if bare.len() < line.len() {
        bare.strip_prefix(['.', ')'])
    } else {
        line.strip_prefix(['-', '*', '•'])
    };
    item.map_or(line, str::trim_start)
}

impl fmt::Debug for MultiQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiQuery")
            .field("model", self.model.info())
            .field("wordings", &self.wordings)
            .field("weight", &self.weight)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::without_number;

    #[test]
    fn numbers_and_bullets_of_lists_are_not_searched_for() {
        for (line, expected) in [
            ("1. how hot is tea?", "how hot is tea?"),
            (" - how hot is tea?", "how hot is tea?"),
            ("12) tea heat", "tea heat"),
            ("2024 elections", "2024 elections"),
            ("plain", "plain"),
            ("3.", ""),
        ] {
            assert_eq!(without_number(line), expected, "{line}");
        }
    }
}
