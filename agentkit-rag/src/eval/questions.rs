//! Questions with their answers, one JSON object a line.

use std::collections::HashSet;
use std::path::Path;

use agentkit_core::{Error, Result};
use serde::Deserialize;

use super::records::Records;

/// A question and what is known about its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Question {
    /// Its id, unique in the set.
    pub id: String,
    /// Its text.
    pub question: String,
    /// Texts that answer it; any of them will do.
    #[serde(default)]
    pub answers: Vec<String>,
    /// The document that it was asked about.
    #[serde(default)]
    pub context_id: Option<String>,
    /// Whether the documents answer it.
    #[serde(default = "yes")]
    pub answerable: bool,
}

impl Question {
    /// An answerable question without known answers.
    #[must_use]
    pub fn new(id: impl Into<String>, question: impl Into<String>) -> Self {
        let (id, question) = (id.into(), question.into());
        Self { id, question, answers: Vec::new(), context_id: None, answerable: true }
    }

    /// Any of these texts answers it.
    #[must_use]
    pub fn answers<A: Into<String>>(mut self, answers: impl IntoIterator<Item = A>) -> Self {
        self.answers = answers.into_iter().map(Into::into).collect();
        self
    }

    /// It was asked about this document.
    #[must_use]
    pub fn context_id(mut self, document: impl Into<String>) -> Self {
        self.context_id = Some(document.into());
        self
    }

    /// The documents do not answer it.
    #[must_use]
    pub fn unanswerable(mut self) -> Self {
        self.answerable = false;
        self
    }
}

/// Reads questions: one JSON object a line with `id`, `question`, and perhaps `answers`, `context_id` and
/// `answerable`; other members are passed over. Reads the file: call it where blocking is fine.
///
/// # Errors
/// Not found, or invalid input naming the file and line of a malformed question, one without text or one that
/// occurs twice.
pub fn read_questions(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    let mut records = Records::open(path.as_ref())?;
    let mut seen = HashSet::new();
    let mut questions = Vec::new();
    while let Some(question) = records.next_record::<Question>() {
        let question = question?;
        let wrong =
            |what: &str| records.wrong(&Error::invalid_input(format!("question {:?} {what}", question.id)));
        if question.question.trim().is_empty() {
            return Err(wrong("has no text"));
        }
        if !seen.insert(question.id.clone()) {
            return Err(wrong("occurs twice"));
        }
        questions.push(question);
    }
    Ok(questions)
}

fn yes() -> bool {
    true
}
