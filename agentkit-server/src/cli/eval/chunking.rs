//! `eval --chunking`: how much of the passages that answer a question a chunker lets find, and how much else with it.

use std::path::Path;
use std::sync::Arc;

use agentkit_core::{Embedder, Error, Result, TenantScope};
use agentkit_rag::Index;
use agentkit_rag::chunk::{Chunker, ParentChildChunker, SemanticChunker, SentenceChunker, StructureChunker};
use agentkit_rag::eval::{Interval, Resampling, SpanOptions, SpanReport, SpanSet, evaluate_spans};
use clap::ValueEnum;
use serde_json::json;

use super::super::Session;
use super::super::output::Unit;
use super::arguments::Method;

/// How the documents are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Cut {
    /// Along the structure, as every index does unless it is told otherwise
    #[default]
    Structure,
    /// Sentence by sentence
    Sentence,
    /// Small chunks in large parents
    ParentChild,
    /// Where the subject changes
    Semantic,
}

impl Cut {
    fn chunker(self, embedder: &Arc<dyn Embedder>) -> Arc<dyn Chunker> {
        let tokens = embedder.identity().max_tokens;
        match self {
            Self::Structure => Arc::new(StructureChunker::default()),
            Self::Sentence => Arc::new(SentenceChunker::new(tokens)),
            Self::ParentChild => Arc::new(ParentChildChunker::new(tokens)),
            Self::Semantic => Arc::new(SemanticChunker::new(embedder.clone())),
        }
    }
}

/// Indexes the set of `folder` in a temporary index and asks its questions.
pub(super) async fn run(session: &Session, folder: &Path, cut: Cut, method: &Method) -> Result<()> {
    let set = SpanSet::load(folder)?;
    let home = tempfile::tempdir().map_err(|error| Error::io("create a temporary folder", error))?;
    let opening = session.out.progress("opening", Unit::Bytes);
    let embedder = crate::engine::embedder(&session.config, &opening, &session.ctx).await?;
    drop(opening);
    let chunker = cut.chunker(&embedder);
    let index = Index::open(home.path(), embedder).await?.with_chunker(chunker);
    let scope = TenantScope::local();
    store(session, &index, &set, &scope).await?;
    let mut options = SpanOptions::new(scope.clone());
    options.resampling = Resampling::default().seed(method.seed);
    options.top_k = method.depth.unwrap_or(options.top_k);
    if let Some(plan) = method.plan.first() {
        options.plan = plan.0.plan.clone();
    }
    let report = evaluate_spans(&index, &set, &options, &session.ctx).await?;
    let chunks = index.stats(&scope).await?.chunks;
    show(session, cut, chunks, &report);
    index.close().await
}

async fn store(session: &Session, index: &Index, set: &SpanSet, scope: &TenantScope) -> Result<()> {
    let progress = session.out.progress("indexing", Unit::Items);
    let total = set.documents().len() as u64;
    for (document, done) in set.documents().iter().zip(1..) {
        index.upsert(scope, vec![document.clone()], &session.ctx).await?;
        progress.set(done, Some(total));
    }
    Ok(())
}

fn show(session: &Session, cut: Cut, chunks: u64, report: &SpanReport) {
    let name = cut.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let SpanReport { top_k, recall, precision, iou, questions, .. } = report;
    session.out.line(format_args!("{name}: {chunks} chunks, {} questions", questions.len()));
    for (figure, value) in [("recall", recall), ("precision", precision), ("iou", iou)] {
        let Interval { mean, low, high, .. } = value;
        session.out.line(format_args!("  {figure}@{top_k:<3} {mean:.4}   {low:.4} to {high:.4}"));
    }
    session.out.object(&json!({
        "chunker": name, "chunks": chunks, "top_k": top_k, "questions": questions.len(),
        "recall": recall, "precision": precision, "iou": iou,
    }));
}
