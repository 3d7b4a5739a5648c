//! `ingest`: files and folders into the index, through the running server if there is one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkit_core::{DocumentId, Error, ErrorKind, Result, RunContext, TenantScope};
use agentkit_rag::SourceDocument;
use agentkit_rag::load::{FileOutcome, LoadOptions, walk};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::keys::KeyRing;
use super::output::{Progress, Unit};
use super::remote::Remote;
use super::{Collection, Session, signals};
use crate::config::Secret;
use crate::documents::Upserted;
use crate::engine::{Access, Engine};
use crate::holder::Holder;

/// Documents in one commit.
const BATCH_DOCUMENTS: usize = 64;
/// Bytes of text after which a batch is committed early.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a key is good that was lent to go through a server.
const LENT: Duration = Duration::from_hours(24);
/// Files read ahead of the index.
const AHEAD: usize = 16;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files and folders; .gitignore and .ignore files are respected
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Put before every document id, to keep apart what comes from several places
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// Add to the index of the server at this address, instead of the data directory
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    collection: Collection,
}

/// What became of the files.
#[derive(Debug, Default, Serialize)]
struct Summary {
    documents: u64,
    unchanged: u64,
    chunks: u64,
    embedded: u64,
    skipped: Vec<Skipped>,
}

/// A file that was left out.
#[derive(Debug, Serialize)]
struct Skipped {
    path: PathBuf,
    error: String,
}

/// Where the documents go.
enum Target {
    Local(Engine),
    Remote(Remote),
    /// A server of the same data directory, and the key that was lent for it.
    Held(Remote, Lent),
}

/// A key that is revoked when the command is done.
struct Lent {
    ring: KeyRing,
    id: String,
}

pub(super) async fn run(session: Session, arguments: Arguments) -> Result<()> {
    let scope = arguments.collection.scope()?;
    signals::cancel_when_stopped(&session.ctx);
    let target = Target::open(&session, arguments.server.as_deref()).await?;
    let (files, total) = find(arguments, &session.ctx).await?;
    let progress = session.out.progress("indexing", Unit::Items);
    progress.set(0, Some(total));
    let mut ingest =
        Ingest { target: &target, scope, ctx: &session.ctx, progress: &progress, total, done: 0 };
    let mut summary = Summary::default();
    let ended = ingest.all(files, &mut summary).await;
    drop(progress);
    report(&session, &summary, ended.is_ok());
    let closed = target.close().await;
    ended.and(closed).and(if summary.documents + summary.unchanged == 0 {
        Err(nothing(&summary))
    } else {
        Ok(())
    })
}

fn nothing(summary: &Summary) -> Error {
    let skipped = summary.skipped.len();
    Error::invalid_input(format!("nothing was indexed: no file could be loaded, {skipped} were skipped"))
}

fn report(session: &Session, summary: &Summary, complete: bool) {
    let Summary { documents, unchanged, chunks, embedded, skipped } = summary;
    let stopped = if complete { "" } else { "stopped early; what is committed stays: " };
    session.out.line(format_args!(
        "{stopped}{documents} documents written, {unchanged} unchanged; {chunks} chunks, {embedded} embedded; {} files skipped",
        skipped.len()
    ));
    session.out.object(&json!({"event": "done", "complete": complete, "summary": summary}));
}

impl Target {
    async fn open(session: &Session, server: Option<&str>) -> Result<Self> {
        if let Some(url) = server {
            return Remote::new(url, session.api_key.as_ref()).map(Self::Remote);
        }
        let progress = session.out.progress("opening", Unit::Bytes);
        match Engine::open(&session.config, Access::ReadWrite, &progress, &session.ctx).await {
            Ok(engine) => Ok(Self::Local(engine)),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let Some(holder) = Holder::find(&session.config.data_dir) else { return Err(error) };
                if !Remote::new(&holder.url, None)?.lives(&session.ctx).await {
                    return Err(error);
                }
                let ring = KeyRing::open(&session.config).await?;
                let key = ring.lend(LENT, &session.ctx).await?;
                let remote = Remote::new(&holder.url, Some(&Secret::new(key.expose())))?;
                session
                    .out
                    .note(format_args!("the server at {} holds the index; going through it", holder.url));
                Ok(Self::Held(remote, Lent { ring, id: key.id().to_owned() }))
            }
            Err(error) => Err(error),
        }
    }

    async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<Upserted> {
        match self {
            Self::Local(engine) => engine.documents().upsert(scope, documents, ctx).await,
            Self::Remote(remote) | Self::Held(remote, _) => remote.upsert(scope, documents, ctx).await,
        }
    }

    async fn close(self) -> Result<()> {
        match self {
            Self::Local(engine) => engine.close().await,
            Self::Remote(_) => Ok(()),
            Self::Held(_, lent) => {
                let revoked = lent.ring.revoke(&lent.id, &RunContext::new()).await;
                lent.ring.close().await;
                revoked.map(drop)
            }
        }
    }
}

/// Finds the files, and loads them on a thread of its own, a few ahead.
async fn find(arguments: Arguments, ctx: &RunContext) -> Result<(mpsc::Receiver<FileOutcome>, u64)> {
    let mut options = LoadOptions::default();
    options.id_prefix = arguments.prefix;
    let paths = arguments.paths;
    let walks = ctx
        .run_blocking(move |ctx| {
            let found = paths.iter().map(|path| ctx.check().and_then(|()| walk(path, &options)));
            found.collect::<Result<Vec<_>>>()
        })
        .await?;
    let total = walks.iter().map(|walk| walk.len() as u64).sum();
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Ends by itself as soon as nobody receives.
    tokio::task::spawn_blocking(move || {
        for outcome in walks.into_iter().flatten() {
            if sender.blocking_send(outcome).is_err() {
                return;
            }
        }
    });
    Ok((receiver, total))
}

/// The way of the files into the target.
struct Ingest<'a> {
    target: &'a Target,
    scope: TenantScope,
    ctx: &'a RunContext,
    progress: &'a Progress,
    total: u64,
    done: u64,
}

impl Ingest<'_> {
    async fn all(&mut self, mut files: mpsc::Receiver<FileOutcome>, summary: &mut Summary) -> Result<()> {
        let mut batch = Batch::default();
        let mut seen: HashMap<DocumentId, PathBuf> = HashMap::new();
        while let Some(outcome) = self.ctx.run(async { Ok(files.recv().await) }).await? {
            match outcome {
                FileOutcome::Skipped { path, error } => self.skip(summary, path, &error),
                FileOutcome::Loaded { path, documents } => {
                    self.total = (self.total + documents.len() as u64).saturating_sub(1);
                    for document in documents {
                        if let Some(other) = seen.get(&document.id) {
                            self.skip(summary, path.clone(), &twice(&document.id, other));
                            continue;
                        }
                        seen.insert(document.id.clone(), path.clone());
                        batch.push(path.clone(), document);
                        self.commit_full(&mut batch, summary).await?;
                    }
                }
                _ => {}
            }
        }
        self.commit(batch, summary).await
    }

    async fn commit_full(&mut self, batch: &mut Batch, summary: &mut Summary) -> Result<()> {
        if batch.is_full() { self.commit(std::mem::take(batch), summary).await } else { Ok(()) }
    }

    async fn commit(&mut self, batch: Batch, summary: &mut Summary) -> Result<()> {
        if batch.documents.is_empty() {
            return Ok(());
        }
        match self.target.upsert(&self.scope, batch.documents.clone(), self.ctx).await {
            Ok(upserted) => self.count(upserted, summary),
            // One of them is refused; the others are not to suffer for it.
            Err(error) if error.is_invalid_input() => self.one_by_one(batch, summary).await?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn one_by_one(&mut self, batch: Batch, summary: &mut Summary) -> Result<()> {
        for (path, document) in batch.paths.into_iter().zip(batch.documents) {
            match self.target.upsert(&self.scope, vec![document], self.ctx).await {
                Ok(upserted) => self.count(upserted, summary),
                Err(error) if error.is_invalid_input() => self.skip(summary, path, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn count(&mut self, upserted: Upserted, summary: &mut Summary) {
        summary.documents += upserted.documents;
        summary.unchanged += upserted.unchanged;
        summary.chunks += upserted.chunks;
        summary.embedded += upserted.embedded;
        self.advance(upserted.documents + upserted.unchanged);
    }

    fn skip(&mut self, summary: &mut Summary, path: PathBuf, error: &Error) {
        let error = error.chain();
        self.progress.note(format_args!("skipped: {error}"));
        summary.skipped.push(Skipped { path, error });
        self.advance(1);
    }

    fn advance(&mut self, files: u64) {
        self.done += files;
        self.progress.set(self.done, Some(self.total));
    }
}

fn twice(id: &DocumentId, other: &Path) -> Error {
    Error::invalid_input(format!(
        "the document id {:?} is already that of {}; ingest them apart, each with its own --prefix",
        id.as_str(),
        other.display()
    ))
}

/// Documents to be committed together, with the files they came from.
#[derive(Default)]
struct Batch {
    paths: Vec<PathBuf>,
    documents: Vec<SourceDocument>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, path: PathBuf, document: SourceDocument) {
        self.bytes += document.source_text.len();
        self.paths.push(path);
        self.documents.push(document);
    }

    fn is_full(&self) -> bool {
        self.documents.len() >= BATCH_DOCUMENTS || self.bytes >= BATCH_BYTES
    }
}
