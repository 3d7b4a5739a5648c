//! Running a data set's queries through a retriever, leg by leg, and scoring what comes back.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use agentkit_core::{
    Error, Fusion, Hit, MAX_TOP_K, Result, Retriever, RunContext, SearchPlan, SearchRequest, TenantScope,
};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::dataset::{Dataset, Query};
use super::metrics::Scores;
use super::run::{Ranked, Run};

/// Documents a run has for each query.
const DEPTH: usize = 100;
/// Queries in flight at once unless told otherwise.
const CONCURRENCY: usize = 4;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvalLeg {
    /// The lexical leg alone.
    Bm25,
    /// The dense leg alone.
    Dense,
    /// Both, fused by the default method.
    Hybrid,
}

impl EvalLeg {
    /// Every leg, in the order of reports.
    pub const ALL: [Self; 3] = [Self::Bm25, Self::Dense, Self::Hybrid];

    /// Its name in reports and runs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bm25 => "bm25",
            Self::Dense => "dense",
            Self::Hybrid => "hybrid",
        }
    }

    fn plan(self, candidates: usize) -> SearchPlan {
        match self {
            Self::Bm25 => SearchPlan::Lexical { candidates },
            Self::Dense => SearchPlan::Dense { candidates, exact: false },
            Self::Hybrid => SearchPlan::Fuse {
                method: Fusion::default(),
                inputs: vec![
                    SearchPlan::Dense { candidates, exact: false },
                    SearchPlan::Lexical { candidates },
                ],
            },
        }
    }
}

impl fmt::Display for EvalLeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far an evaluation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The leg being measured.
    pub leg: EvalLeg,
    /// Its queries that are done.
    pub done: usize,
    /// Its queries.
    pub total: usize,
}

type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What to measure and how.
#[derive(Clone)]
pub struct EvalOptions {
    scope: TenantScope,
    legs: Vec<EvalLeg>,
    concurrency: usize,
    on_progress: Option<OnProgress>,
}

impl EvalOptions {
    /// Measures every leg in `scope`, which must hold exactly the data set's documents.
    #[must_use]
    pub fn new(scope: TenantScope) -> Self {
        Self { scope, legs: EvalLeg::ALL.to_vec(), concurrency: CONCURRENCY, on_progress: None }
    }

    /// Measures these legs only.
    #[must_use]
    pub fn legs(mut self, legs: impl IntoIterator<Item = EvalLeg>) -> Self {
        self.legs = legs.into_iter().collect();
        self
    }

    /// How many queries run at once, at least 1; 4 by default.
    #[must_use]
    pub fn concurrency(mut self, queries: usize) -> Self {
        self.concurrency = queries.max(1);
        self
    }

    /// Calls this after each query.
    #[must_use]
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(call));
        self
    }
}

impl fmt::Debug for EvalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvalOptions")
            .field("scope", &self.scope)
            .field("legs", &self.legs)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

/// The figures of each leg. As JSON an object with `bm25`, `dense` and `hybrid`, each an object with `ndcg@10`,
/// `recall@10`, `recall@100` and `mrr`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Report {
    legs: BTreeMap<EvalLeg, LegReport>,
}

/// The figures of one leg and the run they were computed from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LegReport {
    /// Means over the queries with a relevant document.
    #[serde(flatten)]
    pub scores: Scores,
    /// The rankings, up to 100 documents a query.
    #[serde(skip)]
    pub run: Run,
}

impl Report {
    /// A leg's report, if it was measured.
    #[must_use]
    pub fn leg(&self, leg: EvalLeg) -> Option<&LegReport> {
        self.legs.get(&leg)
    }

    /// The legs measured, in the order of [`EvalLeg::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (EvalLeg, &LegReport)> {
        self.legs.iter().map(|(leg, report)| (*leg, report))
    }
}

/// Runs every query of `dataset` that has a relevant document through `retriever`, and scores the rankings.
///
/// A ranking is over documents: the chunks found fold to the best one of each document, and more chunks are
/// asked for until there are 100 documents, or no more chunks, or the most that a request may ask for.
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
///
/// # Errors
/// Invalid input, if no query has a relevant document; else the first error of the retriever, with its query
/// named, or stopped.
pub async fn evaluate(
    retriever: &dyn Retriever,
    dataset: &Dataset,
    options: &EvalOptions,
    ctx: &RunContext,
) -> Result<Report> {
    let queries: Vec<&Query> = dataset.judged_queries().collect();
    if queries.is_empty() {
        return Err(Error::invalid_input(
            "no query of the data set has a relevant document; check its qrels",
        ));
    }
    let mut report = Report::default();
    for leg in &options.legs {
        let run = ctx.run(Box::pin(measure(retriever, &queries, *leg, options, ctx))).await?;
        let scores = run.score(dataset.judgements());
        report.legs.insert(*leg, LegReport { scores, run });
    }
    Ok(report)
}

async fn measure(
    retriever: &dyn Retriever,
    queries: &[&Query],
    leg: EvalLeg,
    options: &EvalOptions,
    ctx: &RunContext,
) -> Result<Run> {
    let rank = |query: &Query| {
        let query = query.clone();
        async move {
            let ranking = documents(retriever, &query, leg, options, ctx).await;
            ranking.map(|ranking| (query.id.clone(), ranking)).map_err(|error| {
                Error::new(error.kind(), format!("evaluate {leg} with query {:?}", query.id))
                    .with_source(error)
            })
        }
    };
    let searches: Vec<_> = queries.iter().map(|query| rank(query)).collect();
    let mut rankings = futures_util::stream::iter(searches).buffer_unordered(options.concurrency);
    let mut run = Run::default();
    let mut done = 0;
    while let Some((query, ranking)) = rankings.try_next().await? {
        run.insert(query, ranking);
        done += 1;
        if let Some(call) = &options.on_progress {
            call(Progress { leg, done, total: queries.len() });
        }
    }
    Ok(run)
}

/// The best documents for a query: chunks folded, more asked for until there are enough.
async fn documents(
    retriever: &dyn Retriever,
    query: &Query,
    leg: EvalLeg,
    options: &EvalOptions,
    ctx: &RunContext,
) -> Result<Vec<Ranked>> {
    let mut top_k = DEPTH;
    loop {
        let request =
            SearchRequest::new(options.scope.clone(), &query.text).top_k(top_k).plan(leg.plan(top_k));
        let hits = retriever.search(&request, ctx).await?.hits;
        let exhausted = hits.len() < top_k || top_k == MAX_TOP_K;
        let folded = fold(hits);
        if exhausted || folded.len() >= DEPTH {
            return Ok(folded);
        }
        top_k = (top_k * 2).min(MAX_TOP_K);
    }
}

/// Documents by their best chunk, at most [`DEPTH`]; equal scores by document id.
fn fold(mut hits: Vec<Hit>) -> Vec<Ranked> {
    hits.sort_by(|a, b| {
        let by_id = || a.passage.document_id.cmp(&b.passage.document_id);
        b.score.total_cmp(&a.score).then_with(by_id)
    });
    let mut seen = HashSet::new();
    let first = hits.into_iter().filter(|hit| seen.insert(hit.passage.document_id.clone()));
    first
        .take(DEPTH)
        .map(|hit| Ranked { document: hit.passage.document_id.into(), score: hit.score })
        .collect()
}
