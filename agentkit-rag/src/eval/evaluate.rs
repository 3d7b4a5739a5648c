//! Running a data set's queries through a retriever, plan by plan, and keeping what comes back.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use agentkit_core::{Error, Hit, MAX_TOP_K, Result, Retriever, RunContext, SearchRequest};
use futures_util::{StreamExt, TryStreamExt};

use super::dataset::Dataset;
use super::options::{EvalOptions, NamedPlan, Progress};
use super::queries::Query;
use super::report::{Report, RunReport};
use super::run::{Ranked, Run};
use super::scores::Scores;

/// Runs every query of `dataset` that has a relevant document through `retriever`, once for each plan of the options,
/// and scores the rankings.
///
/// A ranking is over documents, in the order of the hits: the chunks found fold to the first one of each document,
/// and more chunks are asked for until there are 100 documents, or no more chunks, or the most that a request may
/// ask for.
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
///
/// # Errors
/// Invalid input, if no query has a relevant document; else the first error of the retriever, with its query
/// named, or stopped.
///
/// # Examples
/// ```
/// use agentkit_core::testing::MemoryRetriever;
/// use agentkit_core::{Metadata, RunContext, TenantScope};
/// use agentkit_rag::eval::{Dataset, EvalOptions, Judgements, Query, evaluate};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let scope = TenantScope::local();
/// // Your own retriever stands here.
/// let retriever = MemoryRetriever::new();
/// retriever.add_text(&scope, "tea", "Green tea is best at 80 degrees.", &Metadata::new())?;
/// retriever.add_text(&scope, "oil", "Change the oil once a year.", &Metadata::new())?;
///
/// let queries = vec![Query { id: "q1".into(), text: "how hot is green tea?".into() }];
/// let dataset = Dataset::new(queries, [("q1".into(), Judgements::from([("tea".into(), 1)]))])?;
/// let report = evaluate(&retriever, &dataset, &EvalOptions::new(scope), &RunContext::new()).await?;
/// let hybrid = report.run("hybrid").unwrap();
/// assert_eq!(hybrid.mean("ndcg@10".parse()?), Some(1.0));
/// # Ok::<_, agentkit_core::Error>(())
/// # }).unwrap();
/// ```
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
    let mut report = Report::new(options.resampling);
    for (at, plan) in options.plans.iter().enumerate() {
        let measuring = Measuring { retriever, queries: &queries, plan, at, options, ctx };
        let (run, latencies) = ctx.run(Box::pin(measuring.all())).await?;
        let scores = Scores::of(&run, dataset.judgements(), &options.metrics);
        report.add(
            RunReport::new(plan.name.as_str(), scores).plan(plan.plan.clone()).run(run).latencies(latencies),
        )?;
    }
    Ok(report)
}

/// One plan being measured.
#[derive(Clone, Copy)]
struct Measuring<'m> {
    retriever: &'m dyn Retriever,
    queries: &'m [&'m Query],
    plan: &'m NamedPlan,
    at: usize,
    options: &'m EvalOptions,
    ctx: &'m RunContext,
}

impl Measuring<'_> {
    async fn all(self) -> Result<(Run, Vec<Duration>)> {
        let searches: Vec<_> = self.queries.iter().map(|query| self.one((*query).clone())).collect();
        let mut found = futures_util::stream::iter(searches).buffer_unordered(self.options.concurrency);
        let (mut run, mut latencies) = (Run::default(), Vec::new());
        while let Some((query, ranking, latency)) = found.try_next().await? {
            run.insert_in_order(query, ranking);
            latencies.push(latency);
            if let Some(call) = &self.options.on_progress {
                let runs = self.options.plans.len();
                call(Progress { run: self.at, runs, done: latencies.len(), total: self.queries.len() });
            }
        }
        Ok((run, latencies))
    }

    async fn one(self, query: Query) -> Result<(String, Vec<Ranked>, Duration)> {
        let found = self.documents(&query).await;
        let (ranking, latency) = found.map_err(|error| {
            let attempt = format!("evaluate {} with query {:?}", self.plan.name, query.id);
            Error::new(error.kind(), attempt).with_source(error)
        })?;
        Ok((query.id, ranking, latency))
    }

    /// The best documents for a query: chunks folded, more asked for until there are enough. The time is that of the
    /// first search.
    async fn documents(self, query: &Query) -> Result<(Vec<Ranked>, Duration)> {
        let depth = self.options.depth;
        let mut top_k = depth;
        let mut latency = None;
        loop {
            let before = self.options.conversations.get(&query.id).cloned().unwrap_or_default();
            let request = SearchRequest::new(self.options.scope.clone(), query.text.as_str())
                .top_k(top_k)
                .plan(self.plan.plan.clone())
                .conversation(before);
            let begun = Instant::now();
            let hits = self.retriever.search(&request, self.ctx).await?.hits;
            let first = *latency.get_or_insert_with(|| begun.elapsed());
            let exhausted = hits.len() < top_k || top_k == MAX_TOP_K;
            let folded = fold(hits, depth);
            if exhausted || folded.len() >= depth {
                return Ok((folded, first));
            }
            top_k = (top_k * 2).min(MAX_TOP_K);
        }
    }
}

/// The first chunk of each document, at most `depth`.
fn fold(hits: Vec<Hit>, depth: usize) -> Vec<Ranked> {
    let mut seen = HashSet::new();
    let first = hits.into_iter().filter(|hit| seen.insert(hit.passage.document_id.clone()));
    let ranked = |hit: Hit| Ranked { document: hit.passage.document_id.into(), score: hit.score };
    first.take(depth).map(ranked).collect()
}
