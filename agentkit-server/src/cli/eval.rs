//! `eval`: the retrieval figures of a data set, per leg and fused.

use std::ffi::OsString;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result, TenantScope};
use agentkit_rag::eval::{Dataset, EvalLeg, EvalOptions, Report, evaluate};
use clap::Args;

use super::output::Unit;
use super::{Session, signals};
use crate::config::Config;
use crate::engine::{Access, Engine};

/// Documents in one commit.
const BATCH: usize = 256;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder with corpus.jsonl, queries.jsonl and qrels.tsv
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// Write the fused ranking here in TREC form, and those of the legs beside it as FILE.bm25 and FILE.dense
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
}

pub(super) async fn run(mut session: Session, arguments: Arguments) -> Result<()> {
    signals::cancel_when_stopped(&session.ctx);
    let dataset = Dataset::load(&arguments.dataset)?;
    let folder = tempfile::tempdir().map_err(|error| Error::io("create a temporary folder", error))?;
    session.config = Config { data_dir: folder.path().to_owned(), ..session.config };
    let opening = session.out.progress("opening", Unit::Bytes);
    let engine = Engine::open(&session.config, Access::ReadWrite, &opening, &session.ctx).await?;
    drop(opening);

    let scope = TenantScope::local();
    index(&session, &engine, &dataset, &scope).await?;
    let report = measure(&session, &engine, &dataset, scope).await?;
    show(&session, &report);
    if let Some(file) = &arguments.run {
        write_runs(&report, file)?;
    }
    engine.close().await
}

async fn index(session: &Session, engine: &Engine, dataset: &Dataset, scope: &TenantScope) -> Result<()> {
    let progress = session.out.progress("indexing", Unit::Items);
    let mut documents = dataset.documents()?;
    let mut done = 0;
    loop {
        let batch: Vec<_> = documents.by_ref().take(BATCH).collect::<Result<_>>()?;
        if batch.is_empty() {
            return Ok(());
        }
        done += engine.documents().upsert(scope, batch, &session.ctx).await?.documents;
        progress.set(done, None);
    }
}

async fn measure(
    session: &Session,
    engine: &Engine,
    dataset: &Dataset,
    scope: TenantScope,
) -> Result<Report> {
    let progress = session.out.progress("searching", Unit::Items);
    let legs = EvalLeg::ALL;
    let options = EvalOptions::new(scope).legs(legs).on_progress(move |step| {
        let before = legs.iter().position(|leg| *leg == step.leg).unwrap_or(0) * step.total;
        progress.set((before + step.done) as u64, Some((legs.len() * step.total) as u64));
    });
    evaluate(&*engine.retriever(), dataset, &options, &session.ctx).await
}

fn show(session: &Session, report: &Report) {
    session.out.object(report);
    session.out.line(format_args!(
        "{:<8} {:>8} {:>10} {:>11} {:>8}",
        "", "nDCG@10", "recall@10", "recall@100", "MRR"
    ));
    for (leg, figures) in report.iter() {
        let scores = &figures.scores;
        session.out.line(format_args!(
            "{:<8} {:>8.4} {:>10.4} {:>11.4} {:>8.4}",
            leg.name(),
            scores.ndcg_at_10,
            scores.recall_at_10,
            scores.recall_at_100,
            scores.mrr
        ));
    }
}

fn write_runs(report: &Report, file: &Path) -> Result<()> {
    for (leg, figures) in report.iter() {
        let path = if leg == EvalLeg::Hybrid { file.to_owned() } else { beside(file, leg) };
        let failed = |error| Error::io(format!("write the run {}", path.display()), error);
        let mut out = BufWriter::new(File::create(&path).map_err(failed)?);
        figures.run.write_trec(&format!("agentkit-{}", leg.name()), &mut out)?;
        std::io::Write::flush(&mut out).map_err(failed)?;
    }
    Ok(())
}

fn beside(file: &Path, leg: EvalLeg) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(format!(".{}", leg.name()));
    name.into()
}
