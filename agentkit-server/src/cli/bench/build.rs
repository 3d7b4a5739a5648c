//! Filling an index and waiting for its graph.

use std::time::{Duration, Instant};

use agentkit_core::Result;
use agentkit_rag::Index;
use serde::{Deserialize, Serialize};

use super::super::output::Unit;
use super::Bench;
use super::memory::Memory;

/// Documents in one commit.
const BATCH: u64 = 1000;
/// From this many chunks on the index keeps a graph, over at least three quarters of them.
const GRAPH_FROM: u64 = 20_000;
/// Longest wait for the graph, for each chunk and at least: an index without one is measured too.
const GRAPH_WAIT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_mins(1));
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What building took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Built {
    /// Until every chunk was durable and could be found.
    pub(super) seconds: f64,
    pub(super) chunks_per_second: f64,
    /// From the first write until the graph was there.
    pub(super) seconds_with_graph: f64,
    /// Chunks the graph covers; the others are scanned.
    pub(super) graph_chunks: u64,
    pub(super) disk_bytes: u64,
    /// Highest anonymous memory seen between two commits or while the graph was built.
    pub(super) peak_anonymous_bytes: Option<u64>,
    pub(super) memory: Option<Memory>,
}

/// Writes the whole collection.
pub(super) async fn build(bench: &Bench, index: &Index) -> Result<Built> {
    let started = Instant::now();
    let mut peak = Peak::default();
    write(bench, index, &mut peak).await?;
    let seconds = started.elapsed().as_secs_f64();
    let graph_chunks = graph(bench, index, &mut peak).await?;
    #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
    let chunks = bench.collection.chunks() as f64;
    Ok(Built {
        seconds,
        chunks_per_second: chunks / seconds,
        seconds_with_graph: started.elapsed().as_secs_f64(),
        graph_chunks,
        disk_bytes: 0,
        peak_anonymous_bytes: peak.0,
        memory: Memory::now(),
    })
}

async fn write(bench: &Bench, index: &Index, peak: &mut Peak) -> Result<()> {
    let total = bench.collection.chunks();
    let progress = bench.session.out.progress("indexing", Unit::Items);
    for first in (0..total).step_by(usize::try_from(BATCH).unwrap_or(usize::MAX)) {
        let last = total.min(first + BATCH);
        let documents = (first..last).map(|number| bench.collection.document(number));
        let documents = documents.collect::<Result<_>>()?;
        index.upsert(&bench.scope, documents, &bench.session.ctx).await?;
        progress.set(last, Some(total));
        peak.look();
    }
    Ok(())
}

/// Waits until the graph covers what the index lets it cover, and gives the number of chunks.
async fn graph(bench: &Bench, index: &Index, peak: &mut Peak) -> Result<u64> {
    let total = bench.collection.chunks();
    let (each, least) = GRAPH_WAIT;
    let limit = least + each.saturating_mul(u32::try_from(total).unwrap_or(u32::MAX));
    let progress = bench.session.out.progress("building the graph", Unit::Items);
    let waiting = Instant::now();
    loop {
        let covered = index.stats(&bench.scope).await?.graph_chunks;
        if total < GRAPH_FROM || covered >= total - total / 4 || waiting.elapsed() > limit {
            return Ok(covered);
        }
        progress.set(covered, Some(total));
        peak.look();
        pause(bench, BETWEEN_LOOKS).await?;
    }
}

/// Sleeps unless the command is stopped.
pub(super) async fn pause(bench: &Bench, time: Duration) -> Result<()> {
    bench
        .session
        .ctx
        .run(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
        .await
}

/// The highest anonymous memory of all looks.
#[derive(Default)]
struct Peak(Option<u64>);

impl Peak {
    fn look(&mut self) {
        self.0 = self.0.max(Memory::now().map(|memory| memory.anonymous));
    }
}
