//! `ingest`: files and folders into the index, through the running server if there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result, TenantScope};
use agentkit_rag::ingest::{FileEnd, IngestEvent, IngestJob, IngestReport, IngestTarget, Mirror};
use agentkit_rag::load::LoadOptions;
use clap::Args;
use serde_json::{Value, json};

use super::held::Held;
use super::output::{Progress, Unit};
use super::remote::Remote;
use super::{Collection, Session, signals};
use crate::config::Config;
use crate::engine::{Access, Engine};
use crate::identity::Role;

/// The folder within the data directory in which mirrored folders are remembered.
const MIRRORS: &str = "mirrors";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files and folders; .gitignore and .ignore files are respected
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Mirror the folders: read only what has changed since the last time, and delete the documents of files that are gone
    #[arg(long)]
    sync: bool,
    /// Mirror one folder, and go on following its changes until stopped
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks at a watched folder
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// Let a mirrored folder that has become empty delete all of its documents
    #[arg(long)]
    allow_empty: bool,
    /// Put before every document id, to keep apart what comes from several places
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// Add to the index of the server at this address, instead of the data directory
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    collection: Collection,
}

pub(super) async fn run(session: Session, arguments: Arguments) -> Result<()> {
    let scope = arguments.collection.scope()?;
    let mirrors = mirrors(&session.config, &arguments, &scope)?;
    signals::cancel_when_stopped(&session.ctx);
    let target = Target::open(&session, arguments.server.as_deref()).await?;
    let mut job = job(&session, &arguments, &target, scope);
    let ended = work(&session, &arguments, &mut job, mirrors).await;
    let report = job.report().clone();
    drop(job);
    let watched = arguments.watch && ended.as_ref().is_err_and(Error::is_stopped);
    // What fails before it begins has nothing to tell.
    if ended.is_ok() || report != IngestReport::default() {
        tell(&session, &report, ended.is_ok() || watched);
    }
    let closed = target.close().await;
    let ended = if watched { Ok(()) } else { ended };
    ended.and(closed).and(if is_empty(&report) { Err(nothing(&report)) } else { Ok(()) })
}

async fn work(
    session: &Session,
    arguments: &Arguments,
    job: &mut IngestJob,
    mirrors: Vec<Mirror>,
) -> Result<()> {
    if mirrors.is_empty() {
        return job.run(&arguments.paths, &session.ctx).await;
    }
    for mut mirror in mirrors {
        if arguments.watch {
            job.watch(&mut mirror, Duration::from_secs(arguments.interval), &session.ctx).await?;
        } else {
            job.sync(&mut mirror, &session.ctx).await?;
        }
    }
    Ok(())
}

/// The folders to be mirrored, each with its memory; none if files are only to be added.
fn mirrors(config: &Config, arguments: &Arguments, scope: &TenantScope) -> Result<Vec<Mirror>> {
    if !arguments.sync && !arguments.watch {
        return Ok(Vec::new());
    }
    if arguments.watch && arguments.paths.len() > 1 {
        return Err(Error::invalid_input("--watch follows one folder; run it once for each"));
    }
    let mirror = |path: &PathBuf| {
        let folder = path.canonicalize();
        let folder = folder.map_err(|error| Error::io(format!("mirror {}", path.display()), error))?;
        if !folder.is_dir() {
            return Err(Error::invalid_input(format!("mirror {}: it is not a folder", path.display())));
        }
        let state = config.data_dir.join(MIRRORS).join(state_name(&folder, arguments, scope));
        Ok(Mirror::new(folder, state).may_empty(arguments.allow_empty))
    };
    arguments.paths.iter().map(mirror).collect()
}

/// A file name of its own for each folder, place and prefix.
fn state_name(folder: &Path, arguments: &Arguments, scope: &TenantScope) -> String {
    let server = arguments.server.as_deref().unwrap_or_default();
    let parts = format!("{server}\0{}\0{}\0{}", scope.collection(), arguments.prefix, folder.display());
    let hash = blake3::hash(parts.as_bytes()).to_hex();
    let last = folder.file_name().unwrap_or_default().to_string_lossy();
    let name: String = last.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    format!("{name}-{}.jsonl", hash.get(..16).unwrap_or_default())
}

fn job(session: &Session, arguments: &Arguments, target: &Target, scope: TenantScope) -> IngestJob {
    let mut options = LoadOptions::default();
    options.id_prefix.clone_from(&arguments.prefix);
    let progress = session.out.progress("indexing", Unit::Items);
    let out = session.out;
    let watch = arguments.watch;
    IngestJob::new(target.documents(), scope).load_options(options).observer(move |event| {
        show(&progress, event);
        if let Some(told) = watched(event).filter(|_| watch) {
            out.object(&told);
        }
    })
}

/// What programs are told of a watched folder.
fn watched(event: &IngestEvent<'_>) -> Option<Value> {
    Some(match event {
        IngestEvent::File { path, end: FileEnd::Stored { documents } } => {
            json!({"event": "stored", "path": path, "documents": documents})
        }
        IngestEvent::File { path, end: FileEnd::Gone } => json!({"event": "gone", "path": path}),
        IngestEvent::Skipped(skipped) => {
            json!({"event": "skipped", "path": skipped.path, "error": skipped.error})
        }
        IngestEvent::Retrying { error } => json!({"event": "retrying", "error": error.chain()}),
        _ => return None,
    })
}

/// Shows people what happens.
fn show(progress: &Progress, event: &IngestEvent<'_>) {
    match event {
        IngestEvent::Found { files, untouched, gone } => {
            progress.set(0, Some(*files));
            if untouched + gone > 0 {
                progress.note(format_args!("{files} files to read, {untouched} unchanged, {gone} gone"));
            }
        }
        IngestEvent::Progress { done, total } => progress.set(*done, Some(*total)),
        IngestEvent::Skipped(skipped) => progress.note(format_args!("skipped: {}", skipped.error)),
        IngestEvent::Retrying { error } => progress.note(format_args!("trying again: {}", error.chain())),
        _ => {}
    }
}

fn is_empty(report: &IngestReport) -> bool {
    report.documents + report.unchanged + report.untouched + report.deleted == 0
}

fn nothing(report: &IngestReport) -> Error {
    let skipped = report.skipped.len();
    Error::invalid_input(format!("nothing was indexed: no file could be loaded, {skipped} were skipped"))
}

fn tell(session: &Session, report: &IngestReport, complete: bool) {
    let IngestReport { documents, unchanged, chunks, embedded, deleted, untouched, skipped, .. } = report;
    let stopped = if complete { "" } else { "stopped early; what is committed stays: " };
    let mirrored = if deleted + untouched > 0 {
        format!("; {deleted} deleted, {untouched} files not read")
    } else {
        String::new()
    };
    session.out.line(format_args!(
        "{stopped}{documents} documents written, {unchanged} unchanged; {chunks} chunks, {embedded} embedded; {} files skipped{mirrored}",
        skipped.len()
    ));
    session.out.object(&json!({"event": "done", "complete": complete, "summary": report}));
}

/// Where the documents go.
enum Target {
    Local(Engine),
    Remote(Remote),
    Held(Held),
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
                let Some(held) = Held::find(session, Role::Editor).await? else { return Err(error) };
                session
                    .out
                    .note(format_args!("the server at {} holds the index; going through it", held.url));
                Ok(Self::Held(held))
            }
            Err(error) => Err(error),
        }
    }

    fn documents(&self) -> Arc<dyn IngestTarget> {
        match self {
            Self::Local(engine) => Arc::new(engine.index()),
            Self::Remote(remote) => Arc::new(remote.clone()),
            Self::Held(held) => Arc::new(held.remote.clone()),
        }
    }

    async fn close(self) -> Result<()> {
        match self {
            Self::Local(engine) => engine.close().await,
            Self::Remote(_) => Ok(()),
            Self::Held(held) => held.close().await,
        }
    }
}
