//! `bench`: the index at size, built and served from generated texts, so that no model is needed.
//!
//! The folder is served once by the process that built it and once by a fresh one, because only a fresh process
//! tells what serving costs: the memory of one that has built an index is mostly that of building.

mod build;
mod folder;
mod measure;
mod memory;
mod recall;
mod reopen;
mod report;

use std::path::PathBuf;
use std::sync::Arc;

use agentkit_core::{Result, TenantScope};
use agentkit_rag::Index;
use clap::{Args, Subcommand};

use self::folder::Folder;
use self::report::Report;
use super::{Session, signals};
use crate::synthetic::{Collection, CollectionEmbedder, Query};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Build an index of N chunks, search it, open it anew, and say what it took
    ///
    /// Texts of 60 to 120 words are generated with a long-tailed vocabulary. Vectors are rows of FILE, perturbed,
    /// or generated around 256 centres in 32 dimensions. Nothing is embedded by a model, so the figures are the
    /// index's own. The index is built in a temporary folder, which is deleted again.
    #[command(after_help = "Examples:
  agentkit-server bench scale --chunks 100000
  agentkit-server bench scale --chunks 1000000 --vectors minilm.f32 --folder /mnt/fast --json")]
    Scale(Arguments),
    /// Serve an index that `bench scale` has built, in a process of its own
    #[command(hide = true)]
    Serving(reopen::Arguments),
}

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    what: What,
    /// Build the index in a new folder below this one [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Leave the index where it is and say where
    #[arg(long)]
    keep: bool,
}

/// What is measured; the same in both processes.
#[derive(Debug, Clone, Args)]
struct What {
    /// Chunks in the index, one a document
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    chunks: u64,
    /// Queries per plan and number of clients
    #[arg(long, value_name = "Q", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    queries: u64,
    /// Real vectors: row-major little-endian f32 of 384 columns
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
}

/// What both processes need.
struct Bench {
    session: Session,
    collection: Arc<Collection>,
    queries: Arc<Vec<Query>>,
    scope: TenantScope,
}

impl Bench {
    fn new(session: Session, what: &What) -> Result<Self> {
        let collection = Collection::new(what.chunks, what.vectors.as_deref())?;
        let queries = (0..what.queries).map(|number| collection.query(number)).collect::<Result<_>>()?;
        Ok(Self {
            session,
            collection: Arc::new(collection),
            queries: Arc::new(queries),
            scope: TenantScope::local(),
        })
    }

    async fn open(&self, folder: &Folder) -> Result<Index> {
        let embedder = CollectionEmbedder::new(self.collection.clone(), &self.queries);
        Index::open(folder.path(), Arc::new(embedder)).await
    }
}

pub(super) async fn run(session: Session, action: Action) -> Result<()> {
    signals::cancel_when_stopped(&session.ctx);
    match action {
        Action::Scale(arguments) => scale(session, arguments).await,
        Action::Serving(arguments) => reopen::serve(session, arguments).await,
    }
}

async fn scale(session: Session, arguments: Arguments) -> Result<()> {
    let folder = Folder::new(arguments.folder.as_deref())?;
    let bench = Bench::new(session, &arguments.what)?;
    let index = bench.open(&folder).await?;
    let outcome = build_and_search(&bench, &index).await;
    // Closed before the folder can go, whatever happened.
    index.close().await?;
    let (mut built, searched, recall) = outcome?;
    built.disk_bytes = folder.size()?;
    let reopened = reopen::in_fresh_process(&bench, &arguments.what, &folder, &built).await?;
    let report = Report {
        chunks: arguments.what.chunks,
        queries: arguments.what.queries,
        real_vectors: bench.collection.has_real_vectors(),
        built,
        searched,
        recall,
        reopened,
        folder: arguments.keep.then(|| folder.keep()),
    };
    report.show(bench.session.out);
    Ok(())
}

async fn build_and_search(
    bench: &Bench,
    index: &Index,
) -> Result<(build::Built, measure::Searched, recall::Recall)> {
    let built = build::build(bench, index).await?;
    let searched = measure::search(bench, index).await?;
    let recall = recall::recall(bench, index).await?;
    Ok((built, searched, recall))
}
