//! How many of the words that people add to a follow-up a rewriter adds as well.

use std::collections::BTreeSet;
use std::iter::Sum;
use std::path::Path;

use agentkit_core::{Conversation, Message, Result};
use serde::{Deserialize, Serialize};

use super::records::Records;
use super::stats::{Interval, Resampling};
use crate::answer::content_words;

/// A dialog whose questions were written out in full by people, as in CANARD.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct RewrittenDialog {
    /// What it is about.
    pub title: String,
    /// The part of that.
    pub section: String,
    /// Its questions.
    pub turns: Vec<RewrittenTurn>,
}

/// A question of a dialog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct RewrittenTurn {
    /// Questions and answers before it by turns, oldest first.
    pub history: Vec<String>,
    /// As it was asked.
    pub question: String,
    /// As a person wrote it out.
    pub rewrite: String,
}

/// Reads dialogs, one JSON object a line with `title`, `section` and `turns`, each with `history`, `question` and
/// `rewrite`. Reads the file: call it where blocking is fine.
///
/// # Errors
/// Not found, or invalid input naming the file and line of a malformed dialog.
pub fn read_rewritten_dialogs(path: impl AsRef<Path>) -> Result<Vec<RewrittenDialog>> {
    let mut records = Records::open(path.as_ref())?;
    let mut dialogs = Vec::new();
    while let Some(dialog) = records.next_record() {
        dialogs.push(dialog?);
    }
    Ok(dialogs)
}

impl RewrittenDialog {
    /// Whether the weights of [`HistoryRewriter`](crate::answer::HistoryRewriter) were fitted without it: those whose
    /// title has an odd CRC-32.
    #[must_use]
    pub fn is_held_out(&self) -> bool {
        crc32fast::hash(self.title.as_bytes()) % 2 == 1
    }
}

impl RewrittenTurn {
    /// What was said before the question.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        let speak = |(at, text): (usize, &String)| {
            if at % 2 == 0 { Message::user(text.as_str()) } else { Message::assistant(text.as_str()) }
        };
        Conversation::new(self.history.iter().enumerate().map(speak).collect())
    }

    /// The same with title and section of `dialog` as topics, if one is given.
    #[must_use]
    pub fn conversation_in(&self, dialog: Option<&RewrittenDialog>) -> Conversation {
        match dialog {
            Some(dialog) => self.conversation().topics([dialog.title.as_str(), dialog.section.as_str()]),
            None => self.conversation(),
        }
    }
}

/// The content words that people added to the questions of some dialogs, and those that were added for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RewritingFigures {
    /// Words that people added.
    pub wanted: usize,
    /// Those of them that what was said before has: more cannot be reached from it.
    pub reachable: usize,
    /// Words added that people added too.
    pub right: usize,
    /// Words added that people did not add.
    pub wrong: usize,
}

/// [`RewritingFigures`] of several dialogs as rates over all their words, each with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RewritingRates {
    /// See [`RewritingFigures::recall`].
    pub recall: Interval,
    /// See [`RewritingFigures::recall_of_reachable`].
    pub recall_of_reachable: Interval,
    /// Share of the words added that people added too; two thirds where half a word is wrong for each right one.
    pub precision: Interval,
}

impl RewritingRates {
    /// The rates, with intervals by drawing whole dialogs.
    #[must_use]
    pub fn of(dialogs: &[RewritingFigures], resampling: &Resampling) -> Self {
        let rate = |parts: fn(&RewritingFigures) -> (usize, usize)| {
            let counts = dialogs.iter().map(parts).map(|(part, whole)| (count(part), count(whole)));
            resampling.ratio(&counts.collect::<Vec<_>>())
        };
        Self {
            recall: rate(|one| (one.right, one.wanted)),
            recall_of_reachable: rate(|one| (one.right, one.reachable)),
            precision: rate(|one| (one.right, one.right + one.wrong)),
        }
    }
}

impl RewritingFigures {
    /// Counts the words that `add` adds to every question of `dialogs`, given what was said before, with title and
    /// section as topics if `with_topics`. Each word counts once a question, by its stem.
    ///
    /// # Examples
    /// ```
    /// use agentkit_rag::answer::HistoryRewriter;
    /// use agentkit_rag::eval::{RewritingFigures, RewrittenDialog};
    ///
    /// let dialog: RewrittenDialog = serde_json::from_str(
    ///     r#"{"title": "Ada Lovelace", "section": "Life", "turns": [{
    ///         "history": ["Who was Ada Lovelace?", "A mathematician."],
    ///         "question": "When was she born?",
    ///         "rewrite": "When was Ada Lovelace born?"}]}"#,
    /// ).unwrap();
    /// let rewriter = HistoryRewriter::new();
    /// let figures = RewritingFigures::count(&[dialog], false, |question, before| {
    ///     rewriter.words(question, before).into_iter().map(|word| word.text).collect()
    /// });
    /// assert_eq!((figures.wanted, figures.reachable, figures.right), (2, 2, 2));
    /// ```
    #[must_use]
    pub fn count(
        dialogs: &[RewrittenDialog],
        with_topics: bool,
        add: impl Fn(&str, &Conversation) -> Vec<String>,
    ) -> Self {
        let mut figures = Self::default();
        for (dialog, turn) in
            dialogs.iter().flat_map(|dialog| dialog.turns.iter().map(move |turn| (dialog, turn)))
        {
            let before = turn.conversation_in(with_topics.then_some(dialog));
            figures.add(turn, &before, &add(&turn.question, &before));
        }
        figures
    }

    /// Counts the words `added` to one question, given what was said before.
    pub fn add(&mut self, turn: &RewrittenTurn, before: &Conversation, added: &[String]) {
        let own = words([&turn.question]);
        let new = |said: BTreeSet<String>| -> BTreeSet<String> { said.difference(&own).cloned().collect() };
        let wanted = new(words([&turn.rewrite]));
        let said = words(before.topics.iter().chain(&turn.history));
        let added = new(words(added));
        let right = added.intersection(&wanted).count();
        self.wanted += wanted.len();
        self.reachable += wanted.intersection(&said).count();
        self.right += right;
        self.wrong += added.len() - right;
    }

    /// Share of the words wanted that were added.
    #[must_use]
    pub fn recall(&self) -> f64 {
        ratio(self.right, self.wanted)
    }

    /// Share of the words that could be reached that were added.
    #[must_use]
    pub fn recall_of_reachable(&self) -> f64 {
        ratio(self.right, self.reachable)
    }

    /// Share of the words wanted that an oracle would add, who knows what people add.
    #[must_use]
    pub fn ceiling(&self) -> f64 {
        ratio(self.reachable, self.wanted)
    }

    /// Wrong words for each right one.
    #[must_use]
    pub fn wrong_per_right(&self) -> f64 {
        ratio(self.wrong, self.right)
    }
}

impl Sum for RewritingFigures {
    fn sum<I: Iterator<Item = Self>>(figures: I) -> Self {
        figures.fold(Self::default(), |sum, one| Self {
            wanted: sum.wanted + one.wanted,
            reachable: sum.reachable + one.reachable,
            right: sum.right + one.right,
            wrong: sum.wrong + one.wrong,
        })
    }
}

fn words<'t>(texts: impl IntoIterator<Item = &'t String>) -> BTreeSet<String> {
    texts.into_iter().flat_map(|text| content_words(text)).collect()
}

/// 0 where there is nothing to share.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { count(part) / count(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "counts of words stay far below 2^52")]
fn count(words: usize) -> f64 {
    words as f64
}
