//! Whether a score tells the questions that the documents answer from those they do not.

use agentkit_core::{Result, Retriever, RunContext, SearchPlan, SearchRequest, TenantScope};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::questions::Question;
use crate::answer::Support;

/// Questions in flight at once.
const CONCURRENCY: usize = 4;

/// A score for each question, and whether the documents answer it.
///
/// # Examples
/// ```
/// use agentkit_rag::eval::Abstention;
///
/// let scores = Abstention::new([(true, 0.9), (true, 0.6), (true, 0.5), (false, 0.55), (false, 0.2)]);
/// assert_eq!(scores.auc(), Some(5.0 / 6.0));
/// let strict = scores.at(0.56);
/// assert_eq!((strict.refused_unanswerable, strict.refused_answerable), (1.0, 1.0 / 3.0));
/// // The highest threshold that loses no answerable question.
/// assert_eq!(scores.threshold(0.0), 0.5);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Abstention {
    answerable: Vec<f64>,
    unanswerable: Vec<f64>,
}

/// What a threshold does: everything that scores below it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Refusals {
    /// The threshold.
    pub threshold: f64,
    /// Share of the unanswerable questions that are refused, which is right.
    pub refused_unanswerable: f64,
    /// Share of the answerable questions that are refused, which is wrong.
    pub refused_answerable: f64,
}

impl Abstention {
    /// Collects pairs of whether a question is answerable and its score; higher means surer. What is not a number counts
    /// as the lowest score.
    #[must_use]
    pub fn new(scores: impl IntoIterator<Item = (bool, f64)>) -> Self {
        let mut collected = Self::default();
        for (is_answerable, score) in scores {
            let side = if is_answerable { &mut collected.answerable } else { &mut collected.unanswerable };
            side.push(if score.is_nan() { f64::NEG_INFINITY } else { score });
        }
        collected.answerable.sort_unstable_by(f64::total_cmp);
        collected.unanswerable.sort_unstable_by(f64::total_cmp);
        collected
    }

    /// How probably an answerable question scores higher than an unanswerable one, equal scores counted half: the area
    /// under the ROC curve (Hanley and McNeil 1982). `None` without questions of either kind.
    #[must_use]
    pub fn auc(&self) -> Option<f64> {
        let pairs = count(self.answerable.len()) * count(self.unanswerable.len());
        let wins = self.answerable.iter().map(|score| {
            let below = self.unanswerable.partition_point(|other| other < score);
            let up_to = self.unanswerable.partition_point(|other| other <= score);
            count(below + up_to) / 2.0
        });
        (pairs > 0.0).then(|| wins.sum::<f64>() / pairs)
    }

    /// What refusing everything that scores below `threshold` does.
    #[must_use]
    pub fn at(&self, threshold: f64) -> Refusals {
        let below = |scores: &[f64]| {
            let refused = scores.partition_point(|score| *score < threshold);
            if scores.is_empty() { 0.0 } else { count(refused) / count(scores.len()) }
        };
        let (refused_unanswerable, refused_answerable) = (below(&self.unanswerable), below(&self.answerable));
        Refusals { threshold, refused_unanswerable, refused_answerable }
    }

    /// The highest threshold that refuses at most this share of the answerable questions.
    #[must_use]
    pub fn threshold(&self, lost: f64) -> f64 {
        let scores = self.answerable.iter().rev();
        scores.copied().find(|score| self.at(*score).refused_answerable <= lost).unwrap_or(f64::NEG_INFINITY)
    }
}

/// Scores each question by the best hit that `plan` finds for it; nothing found is the lowest score.
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
///
/// # Errors
/// What the retriever returns, or stopped.
pub async fn evaluate_abstention(
    retriever: &dyn Retriever,
    questions: &[Question],
    scope: &TenantScope,
    plan: &SearchPlan,
    ctx: &RunContext,
) -> Result<Abstention> {
    let ask = |question: &Question| {
        let request = SearchRequest::new(scope.clone(), &question.question).top_k(1).plan(plan.clone());
        let is_answerable = question.answerable;
        async move {
            let found = retriever.search(&request, ctx).await?;
            let best = found.hits.first().map_or(f64::NEG_INFINITY, |hit| f64::from(hit.score));
            Result::Ok((is_answerable, best))
        }
    };
    let asked: Vec<_> = questions.iter().map(ask).collect();
    let scores = futures_util::stream::iter(asked).buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>();
    Ok(Abstention::new(ctx.run(scores).await?))
}

/// Scores each question by the [`Support`] that `judge` sees in what `retriever` finds for it by its default plan; one that is
/// not judged scores highest, since it is not refused.
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
///
/// # Errors
/// The first error of the retriever or of the judge, or stopped.
pub async fn evaluate_support(
    retriever: &dyn Retriever,
    judge: &Support,
    questions: &[Question],
    scope: &TenantScope,
    ctx: &RunContext,
) -> Result<Abstention> {
    let ask = |question: &Question| {
        let request = SearchRequest::new(scope.clone(), question.question.as_str());
        let is_answerable = question.answerable;
        async move {
            let found = retriever.search(&request, ctx).await?;
            let support = judge.of(&request, &found, ctx).await?;
            Ok((is_answerable, support.map_or(f64::INFINITY, f64::from)))
        }
    };
    let asked: Vec<_> = questions.iter().map(ask).collect();
    let scores = futures_util::stream::iter(asked).buffer_unordered(CONCURRENCY);
    Ok(Abstention::new(ctx.run(scores.try_collect::<Vec<_>>()).await?))
}

#[expect(clippy::cast_precision_loss, reason = "counts of questions stay far below 2^52")]
fn count(items: usize) -> f64 {
    items as f64
}
