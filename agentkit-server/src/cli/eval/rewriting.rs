//! `eval --rewriting`: how many of the words that people add to follow-ups are added without a model.

use std::path::Path;

use agentkit_core::{Conversation, Result};
use agentkit_rag::answer::HistoryRewriter;
use agentkit_rag::eval::{RewritingFigures, RewrittenDialog, read_rewritten_dialogs};

use crate::cli::output::Output;

/// Least probabilities that are tried beside that of searches, which add less.
const LEAST: [f32; 3] = [0.15, 0.25, 0.35];

/// Counts over all dialogs, and over those that the weights were not fitted on.
pub(super) fn measure(out: Output, file: &Path) -> Result<()> {
    let dialogs = read_rewritten_dialogs(file)?;
    let held_out: Vec<RewrittenDialog> =
        dialogs.iter().filter(|dialog| dialog.is_held_out()).cloned().collect();
    for (name, dialogs) in [("all dialogs", &dialogs), ("held-out dialogs", &held_out)] {
        for (context, with_topics) in [("history", false), ("history, title, section", true)] {
            let searched = ("as searched for".to_owned(), HistoryRewriter::new());
            let fewer = LEAST.map(|least| (format!("from {least}"), HistoryRewriter::new().least(least)));
            for (which, rewriter) in std::iter::once(searched).chain(fewer) {
                let figures = RewritingFigures::count(dialogs, with_topics, added_by(rewriter));
                show(out, &format!("{name}, {context}, {which}"), &figures);
            }
        }
    }
    Ok(())
}

fn added_by(rewriter: HistoryRewriter) -> impl Fn(&str, &Conversation) -> Vec<String> {
    move |question, before| rewriter.words(question, before).into_iter().map(|word| word.text).collect()
}

fn show(out: Output, name: &str, figures: &RewritingFigures) {
    out.object(&serde_json::json!({ "rewriting": name, "figures": figures }));
    out.line(format_args!(
        "{name:<60} {:.3} of all, {:.3} of those that can be reached ({:.3} of all), {:.2} wrong for each right",
        figures.recall(),
        figures.recall_of_reachable(),
        figures.ceiling(),
        figures.wrong_per_right()
    ));
}
