//! `eval --rewriting`: how many of the words that people add to follow-ups are added for them.

use std::path::Path;
use std::sync::Arc;

use agentkit_core::{Conversation, Error, QueryRewriter, Result, SearchRequest, TenantScope};
use agentkit_rag::answer::{CarriedWord, HistoryRewriter, QueryResolver};
use agentkit_rag::eval::{
    Interval, Resampling, RewritingFigures, RewritingRates, RewrittenDialog, read_rewritten_dialogs,
};

use super::around::{Rewriter, resolver};
use crate::cli::Session;
use crate::cli::output::{Output, Unit};

/// Least probabilities that are tried beside that of searches.
const LEAST: [f32; 6] = [0.15, 0.25, 0.3, 0.35, 0.4, 0.45];

/// What adds words.
enum Adds {
    Read(QueryResolver),
    BySigns,
    /// Whatever words are in its first query.
    Writes(Arc<dyn QueryRewriter>),
}

impl Adds {
    async fn by(rewriter: Rewriter, session: &Session) -> Result<Option<Self>> {
        Ok(match rewriter {
            Rewriter::History => Some(Self::BySigns),
            Rewriter::Resolver => Some(resolver(session).await?.map_or(Self::BySigns, Self::Read)),
            other => other.build(session).await?.map(Self::Writes),
        })
    }

    fn name(&self) -> &str {
        match self {
            Self::Read(resolver) => resolver.name(),
            Self::BySigns => "history",
            Self::Writes(rewriter) => rewriter.name(),
        }
    }

    /// Names of the ways in which words are chosen.
    fn choices(&self) -> Vec<String> {
        let by_chance = LEAST.iter().map(|least| format!("from {least}"));
        let searched = std::iter::once("as searched for".to_owned());
        match self {
            Self::Read(_) | Self::BySigns => searched.chain(by_chance).collect(),
            Self::Writes(rewriter) => vec![format!("by {}", rewriter.name())],
        }
    }

    /// The words added to a question, by each of the choices.
    async fn words(
        &self,
        question: &str,
        before: &Conversation,
        session: &Session,
    ) -> Result<Vec<Vec<String>>> {
        let (searched, all) = match self {
            Self::BySigns => {
                let all = HistoryRewriter::new().least(0.0).most(usize::MAX);
                (HistoryRewriter::new().words(question, before), all.words(question, before))
            }
            Self::Read(resolver) => (
                resolver.words(question, before, &session.ctx).await?,
                resolver.clone().least(0.0).most(usize::MAX).words(question, before, &session.ctx).await?,
            ),
            Self::Writes(rewriter) => {
                let request = SearchRequest::new(TenantScope::local(), question).conversation(before.clone());
                let queries = rewriter.rewrite(&request, &session.ctx).await?;
                return Ok(vec![queries.into_iter().take(1).map(|query| query.text).collect()]);
            }
        };
        let from = |least: f32| texts(all.iter().filter(|word| word.probability >= least));
        Ok(std::iter::once(texts(&searched)).chain(LEAST.map(from)).collect())
    }
}

fn texts<'w>(words: impl IntoIterator<Item = &'w CarriedWord>) -> Vec<String> {
    words.into_iter().map(|word| word.text.clone()).collect()
}

/// Counts over all dialogs, and over those that the weights were not fitted on.
pub(super) async fn measure(
    session: &Session,
    file: &Path,
    rewriter: Rewriter,
    resampling: &Resampling,
) -> Result<()> {
    let dialogs = read_rewritten_dialogs(file)?;
    let adds = Adds::by(rewriter, session).await?;
    let adds = adds
        .ok_or_else(|| Error::invalid_input("--rewriter none adds no words to be counted; name another"))?;
    session.out.note(format_args!("words are added by {}", adds.name()));
    for (context, with_topics) in [("history", false), ("history, title, section", true)] {
        let counted = count(session, &adds, &dialogs, with_topics).await?;
        for (group, only_held_out) in [("all dialogs", false), ("held-out dialogs", true)] {
            for (at, which) in adds.choices().iter().enumerate() {
                let of_group = dialogs.iter().zip(&counted);
                let of_group = of_group.filter(|(dialog, _)| !only_held_out || dialog.is_held_out());
                let figures: Vec<_> = of_group.filter_map(|(_, figures)| figures.get(at).copied()).collect();
                show(session.out, &format!("{group}, {context}, {which}"), &adds, &figures, resampling);
            }
        }
    }
    Ok(())
}

/// Figures of each dialog, by each of the choices.
async fn count(
    session: &Session,
    adds: &Adds,
    dialogs: &[RewrittenDialog],
    with_topics: bool,
) -> Result<Vec<Vec<RewritingFigures>>> {
    let progress = session.out.progress("questions", Unit::Items);
    let total = dialogs.iter().map(|dialog| dialog.turns.len() as u64).sum();
    let (mut counted, mut done) = (Vec::new(), 0);
    for dialog in dialogs {
        let mut figures = vec![RewritingFigures::default(); adds.choices().len()];
        for turn in &dialog.turns {
            let before = turn.conversation_in(with_topics.then_some(dialog));
            let words = adds.words(&turn.question, &before, session).await?;
            figures.iter_mut().zip(&words).for_each(|(figures, words)| figures.add(turn, &before, words));
            done += 1;
            progress.set(done, Some(total));
        }
        counted.push(figures);
    }
    Ok(counted)
}

fn show(out: Output, name: &str, adds: &Adds, dialogs: &[RewritingFigures], resampling: &Resampling) {
    let figures: RewritingFigures = dialogs.iter().copied().sum();
    let rates = RewritingRates::of(dialogs, resampling);
    out.object(&serde_json::json!({
        "rewriting": name, "rewriter": adds.name(), "figures": figures, "rates": rates,
    }));
    let shown = |rate: Interval| format!("{:.3} [{:.3}, {:.3}]", rate.mean, rate.low, rate.high);
    out.line(format_args!(
        "{name:<60} {} of all, {} of those that can be reached ({:.3} of all), {:.2} wrong for each right (precision {})",
        shown(rates.recall),
        shown(rates.recall_of_reachable),
        figures.ceiling(),
        figures.wrong_per_right(),
        shown(rates.precision)
    ));
}
