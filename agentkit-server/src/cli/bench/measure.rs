//! Latencies of the three plans with one client and with two.

use std::time::{Duration, Instant};

use agentkit_core::{Error, Result, Retriever as _, SearchPlan, SearchRequest};
use agentkit_rag::Index;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::super::output::Unit;
use super::Bench;
use crate::synthetic::Query;

/// Hits asked for.
pub(super) const TOP_K: usize = 10;
/// Searches of each plan before any is measured.
const WARM_UP: usize = 20;

/// Latencies by number of clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Searched {
    pub(super) one_client: Plans,
    pub(super) two_clients: Plans,
}

/// Latencies by plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plans {
    pub(super) hybrid: Latency,
    pub(super) dense: Latency,
    pub(super) bm25: Latency,
}

/// Milliseconds of a search, embedding left out, and searches per second of all clients together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) per_second: f64,
}

pub(super) async fn search(bench: &Bench, index: &Index) -> Result<Searched> {
    Ok(Searched { one_client: plans(bench, index, 1).await?, two_clients: plans(bench, index, 2).await? })
}

async fn plans(bench: &Bench, index: &Index, clients: usize) -> Result<Plans> {
    let name = format!("searching with {clients} client{}", if clients == 1 { "" } else { "s" });
    let progress = bench.session.out.progress(&name, Unit::Items);
    let mut done = Vec::new();
    for plan in [SearchPlan::hybrid(), SearchPlan::dense(), SearchPlan::lexical()] {
        run(bench, index, &plan, Clients { clients, most: WARM_UP }).await?;
        done.push(run(bench, index, &plan, Clients { clients, most: usize::MAX }).await?);
        progress.set(done.len() as u64, Some(3));
    }
    let [hybrid, dense, bm25] =
        <[Latency; 3]>::try_from(done).map_err(|_| Error::internal("three plans have three latencies"))?;
    Ok(Plans { hybrid, dense, bm25 })
}

/// How many search at a time, and how many queries at most.
#[derive(Clone, Copy)]
struct Clients {
    clients: usize,
    most: usize,
}

/// Deals the queries out to the clients and times every one.
async fn run(bench: &Bench, index: &Index, plan: &SearchPlan, clients: Clients) -> Result<Latency> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients.clients {
        let (index, queries, ctx) = (index.clone(), bench.queries.clone(), bench.session.ctx.clone());
        let (scope, plan) = (bench.scope.clone(), plan.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            for query in queries.iter().take(clients.most).skip(client).step_by(clients.clients) {
                let request = request(scope.clone(), query, &plan);
                let started = Instant::now();
                index.search(&request, &ctx).await?;
                times.push(started.elapsed());
            }
            Ok::<_, Error>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let done = task.map_err(|error| Error::internal("a searching task panicked").with_source(error))?;
        times.extend(done?);
    }
    Ok(Latency::new(times, started.elapsed()))
}

pub(super) fn request(scope: agentkit_core::TenantScope, query: &Query, plan: &SearchPlan) -> SearchRequest {
    SearchRequest::new(scope, query.text.as_str()).plan(plan.clone()).top_k(TOP_K)
}

impl Latency {
    /// The figures of searches that took `times`, all together `elapsed`.
    fn new(mut times: Vec<Duration>, elapsed: Duration) -> Self {
        times.sort_unstable();
        // The nearest rank: the smallest time that this share of all does not exceed.
        let percentile = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
        let per_second = times.len() as f64 / elapsed.as_secs_f64();
        Self { p50_ms: percentile(50), p95_ms: percentile(95), p99_ms: percentile(99), per_second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let latency = Latency::new(times, Duration::from_secs(10));
        let expected = Latency { p50_ms: 100.0, p95_ms: 190.0, p99_ms: 198.0, per_second: 20.0 };
        assert_eq!(latency, expected);
        let single = Latency::new(vec![Duration::from_millis(7)], Duration::from_secs(1));
        assert!((single.p50_ms - 7.0).abs() < 1e-9 && (single.p99_ms - 7.0).abs() < 1e-9);
    }
}
