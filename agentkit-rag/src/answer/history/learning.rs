//! What the weights are learnt from: each word of a conversation with its signs, and whether a person added it.
//!
//! `fit.py` beside this file reads what is written here, and says how.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::resolver::Pages;
use super::weights::signs;
use super::{Candidate, FollowUp};
use crate::embed::Marked;
use crate::eval::{RewritingFigures, RewrittenDialog, RewrittenTurn, read_rewritten_dialogs};

/// A question in its conversation.
#[derive(Serialize)]
struct Row<'d> {
    /// Whether title and section are known.
    topics: bool,
    question: &'d str,
    /// What was said before, in the order in which it is read.
    texts: Vec<Text>,
    words: Vec<Word>,
    /// Words that the person added, and those of them that were said before.
    wanted: usize,
    reachable: usize,
}

/// A text, and which bytes of it are which word.
#[derive(Serialize)]
struct Text {
    text: String,
    places: Vec<(usize, usize, usize)>,
}

#[derive(Serialize)]
struct Word {
    signs: Vec<bool>,
    added: bool,
}

fn row<'d>(dialog: &'d RewrittenDialog, turn: &'d RewrittenTurn, topics: bool) -> Row<'d> {
    let before = turn.conversation_in(topics.then_some(dialog));
    let FollowUp { asked, said, .. } = FollowUp::read(&turn.question, &before);
    let count = |added: &[String]| {
        let mut figures = RewritingFigures::default();
        figures.add(turn, &before, added);
        figures
    };
    let word = |word: &Candidate| Word {
        signs: signs(&word.signs, &asked),
        added: count(&[said.text(word.place).to_owned()]).right > 0,
    };
    let numbered = said.candidates.iter().enumerate();
    let numbers: BTreeMap<_, _> =
        numbered.flat_map(|(number, word)| word.places.iter().map(move |place| (*place, number))).collect();
    let pages = Pages::of(&said);
    let mut said_at = pages.places.iter();
    let text = |page: Marked| {
        let words = page.words.iter().zip(&mut said_at);
        let places = words.map(|(range, place)| (range.start, range.end, numbers[place])).collect();
        Text { text: page.text, places }
    };
    let RewritingFigures { wanted, reachable, .. } = count(&[]);
    Row {
        topics,
        question: &turn.question,
        texts: pages.texts.into_iter().map(text).collect(),
        words: said.candidates.iter().map(word).collect(),
        wanted,
        reachable,
    }
}

#[test]
fn a_row_says_which_words_a_person_added() {
    let dialog: RewrittenDialog = serde_json::from_str(
        r#"{"title": "Panthers", "section": "Players", "turns": [{"history": ["Who was Josh Norman?", "A cornerback."],
            "question": "Where was he born?", "rewrite": "Where was Josh Norman born?"}]}"#,
    )
    .unwrap();
    let row = row(&dialog, &dialog.turns[0], true);
    let texts: Vec<&str> = row.texts.iter().map(|text| text.text.as_str()).collect();
    assert_eq!(texts, ["Panthers . Players", "A cornerback.", "Who was Josh Norman?"]);
    let words = row.texts.iter().flat_map(|text| text.places.iter().map(move |place| (text, place)));
    let said = |(text, &(start, end, number)): (&Text, &(usize, usize, usize))| {
        (text.text[start..end].to_owned(), row.words[number].added)
    };
    let said: Vec<(String, bool)> = words.map(said).collect();
    let expected =
        [("Panthers", false), ("Players", false), ("cornerback", false), ("Josh", true), ("Norman", true)];
    assert_eq!(said, expected.map(|(word, added)| (word.to_owned(), added)));
    assert_eq!((row.wanted, row.reachable), (2, 2));
}

/// Writes the rows of a file of dialogs beside it, for `fit.py`.
#[test]
fn rows_to_learn_from() {
    let Some(dialogs) = std::env::var_os("AGENTKIT_DIALOGS").map(PathBuf::from) else {
        eprintln!("skipped: AGENTKIT_DIALOGS names no file of dialogs");
        return;
    };
    let read = read_rewritten_dialogs(&dialogs).unwrap();
    let mut rows = BufWriter::new(File::create(dialogs.with_added_extension("rows")).unwrap());
    for dialog in read {
        for (turn, topics) in dialog.turns.iter().flat_map(|turn| [(turn, false), (turn, true)]) {
            serde_json::to_writer(&mut rows, &row(&dialog, turn, topics)).unwrap();
            rows.write_all(b"\n").unwrap();
        }
    }
    rows.flush().unwrap();
}
