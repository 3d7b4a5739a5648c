//! Serving the built index from a fresh process, whose memory is that of serving alone.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use agentkit_core::{Error, Result, Retriever as _, SearchPlan};
use agentkit_rag::Index;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::build::{Built, pause};
use super::folder::Folder;
use super::measure::{self, Searched};
use super::memory::Memory;
use super::{Bench, Session, What};

/// Longest wait for a graph that is on disk; one that is built anew takes longer and is reported as missing.
const GRAPH_WAIT: Duration = Duration::from_mins(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    what: What,
    /// Folder of the index
    #[arg(long)]
    index: PathBuf,
    /// Chunks its graph covers
    #[arg(long)]
    graph_chunks: u64,
}

/// What a fresh process measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reopened {
    /// Until searches could be answered.
    pub(super) opening_ms: f64,
    /// Until the graph was there as well; searches are exact before.
    pub(super) opening_with_graph_ms: f64,
    /// The first search, with nothing in the processor's caches.
    pub(super) first_search_ms: f64,
    pub(super) chunks: u64,
    pub(super) graph_chunks: u64,
    pub(super) searched: Searched,
    /// After all searches.
    pub(super) memory: Option<Memory>,
}

/// Runs this program again and waits for what it reports.
pub(super) async fn in_fresh_process(
    bench: &Bench,
    what: &What,
    folder: &Folder,
    built: &Built,
) -> Result<Reopened> {
    bench.session.out.note("opening it in a fresh process");
    let failed = |error| Error::io("run the serving process", error);
    let program = std::env::current_exe().map_err(failed)?;
    let numbers = [&what.chunks, &what.queries, &built.graph_chunks].map(u64::to_string);
    let [chunks, queries, graph_chunks] = &numbers;
    let mut command = Command::new(program);
    command.args(["bench", "serving", "--json", "--chunks", chunks, "--queries", queries]);
    command.args(["--graph-chunks", graph_chunks]).args([OsStr::new("--index"), folder.path().as_os_str()]);
    if let Some(file) = &what.vectors {
        command.args([OsStr::new("--vectors"), file.as_os_str()]);
    }
    let command = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = bench.session.ctx.run(async { command.output().await.map_err(failed) }).await?;
    // Stopped by the same Ctrl-C, the other process may have been faster.
    bench.session.ctx.check()?;
    if !output.status.success() {
        return Err(Error::internal(format!("the serving process failed: {}", output.status)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::internal("read what the serving process reports").with_source(error))
}

/// Opens the index as a server does, searches it and reports.
pub(super) async fn serve(session: Session, arguments: Arguments) -> Result<()> {
    let bench = Bench::new(session, &arguments.what)?;
    let folder = Folder::Borrowed(arguments.index);
    let started = Instant::now();
    let index = bench.open(&folder).await?;
    let outcome = measure(&bench, &index, started, arguments.graph_chunks).await;
    index.close().await?;
    bench.session.out.object(&outcome?);
    Ok(())
}

async fn measure(bench: &Bench, index: &Index, started: Instant, graph_chunks: u64) -> Result<Reopened> {
    let chunks = index.stats(&bench.scope).await?.chunks;
    let opening = started.elapsed();
    let graph_chunks = wait_for_graph(bench, index, graph_chunks).await?;
    let opening_with_graph = started.elapsed();
    let first = Instant::now();
    if let Some(query) = bench.queries.first() {
        let request = measure::request(bench.scope.clone(), query, &SearchPlan::hybrid());
        index.search(&request, &bench.session.ctx).await?;
    }
    Ok(Reopened {
        opening_ms: opening.as_secs_f64() * 1e3,
        opening_with_graph_ms: opening_with_graph.as_secs_f64() * 1e3,
        first_search_ms: first.elapsed().as_secs_f64() * 1e3,
        chunks,
        graph_chunks,
        searched: measure::search(bench, index).await?,
        memory: Memory::now(),
    })
}

/// Waits until the graph covers as much as it did when the index was closed.
async fn wait_for_graph(bench: &Bench, index: &Index, expected: u64) -> Result<u64> {
    let waiting = Instant::now();
    loop {
        let covered = index.stats(&bench.scope).await?.graph_chunks;
        if covered >= expected || waiting.elapsed() > GRAPH_WAIT {
            return Ok(covered);
        }
        pause(bench, BETWEEN_LOOKS).await?;
    }
}
