//! Copies of an index, and proof that one is sound: consistent backups while writing goes on, restoring, verifying.
//!
//! A collection's files are all opened while Tantivy's lock on `meta.json` is held, under which nothing that the
//! commit names can be removed; an opened file keeps its content when its name goes. The copying itself holds up
//! nobody. Each collection is copied as of one commit; different collections may be commits apart.

use std::path::Path;
use std::sync::Arc;

use agentkit_core::{DocumentId, Error, ErrorKind, Result, RunContext};
use serde::{Deserialize, Serialize};
use tantivy::directory::OwnedBytes;

use super::contained::contained;
use super::snapshot::Snapshot;
use super::storage::{Disk, Folder, create_folders};
use super::{layout, store, upsert};

/// Bytes written between two looks at the context.
const PIECE: usize = 4 << 20;
/// Documents read at a time while verifying.
const PAGE: usize = 1000;

/// What a copy or a verification covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BackupReport {
    /// Collections of all tenants.
    pub collections: u64,
    /// Documents in them.
    pub documents: u64,
    /// Chunks of the documents.
    pub chunks: u64,
    /// Bytes of the files that hold them.
    pub bytes: u64,
}

/// Copies the index in `from` to `to`, which must be empty or missing; writers and readers of `from` go on, in
/// this or any other process. Restoring a backup is the same: copy it to where the index shall be.
///
/// The copy's manifest is written last, so a copy that was interrupted is no index.
///
/// # Cancel safety
/// If dropped, an unfinished copy is left in `to`, which nothing takes for an index.
///
/// # Errors
/// Not found if there is no index, conflict if `to` holds anything, corrupt, stopped, resource exhausted if the disk
/// is full, or unavailable.
pub async fn backup(from: impl AsRef<Path>, to: impl AsRef<Path>, ctx: &RunContext) -> Result<BackupReport> {
    let (from, to) = (on_disk(from), on_disk(to));
    ctx.run_blocking(move |ctx| contained(&from.path, || copy(&from, &to, ctx))).await
}

/// Reads everything in the index in `folder` and checks that it is sound: checksums of all files, a vector for each
/// chunk, every document's text complete. Others may write to it meanwhile; the last commit is checked.
///
/// # Cancel safety
/// Cancel safe: reading changes nothing.
///
/// # Errors
/// Corrupt, saying what is damaged; not found if there is no index; mismatch, stopped, or unavailable.
pub async fn verify(folder: impl AsRef<Path>, ctx: &RunContext) -> Result<BackupReport> {
    let root = on_disk(folder);
    ctx.run_blocking(move |ctx| contained(&root.path, || check(&root, ctx))).await
}

fn on_disk(path: impl AsRef<Path>) -> Folder {
    Folder::new(Arc::new(Disk), path.as_ref())
}

/// Copies, then reads the copy: a backup nobody has read is none.
pub(super) fn copy(from: &Folder, to: &Folder, ctx: &RunContext) -> Result<BackupReport> {
    let manifest = layout::manifest(from)?;
    prepare(to)?;
    let (sources, targets) = (manifest.partitions(from), manifest.partitions(to));
    if let Err(error) = copy_partitions(&sources, &targets, ctx) {
        if layout::manifest(from)? == manifest {
            return Err(error);
        }
        let message = "the index was embedded anew while it was copied; copy it again into an empty folder";
        return Err(Error::new(ErrorKind::Conflict, message).with_source(error));
    }
    layout::write_manifest(to, &manifest)?;
    check(to, ctx)
}

fn copy_partitions(from: &Folder, to: &Folder, ctx: &RunContext) -> Result<()> {
    create_folders(&*to.storage, &to.path)
        .map_err(|error| Error::io(format!("create {}", to.path.display()), error))?;
    for scope in layout::scopes(from)? {
        let target = layout::partition(to, &scope);
        for (name, content) in open_files(&layout::partition(from, &scope))? {
            write_copy(&target, &name, &content, ctx)?;
        }
        let synced = target.sync().and_then(|()| target.folder(store::TEXT).sync());
        synced.map_err(|error| Error::io(format!("sync {}", target.path.display()), error))?;
    }
    Ok(())
}

/// Makes sure that the target is an empty folder.
fn prepare(to: &Folder) -> Result<()> {
    let attempt = |error| Error::io(format!("create {}", to.path.display()), error);
    create_folders(&*to.storage, &to.path).map_err(attempt)?;
    if to.storage.list(&to.path).map_err(attempt)?.is_empty() {
        return Ok(());
    }
    let message = format!("{} is not empty; name a folder that is, or a new one", to.path.display());
    Err(Error::new(ErrorKind::Conflict, message))
}

/// The files of one commit, by name, open.
fn open_files(partition: &Folder) -> Result<Vec<(String, OwnedBytes)>> {
    let last = store::committed(partition)?;
    let open = |name: String| {
        let path = partition.at(&name);
        let opened = partition.storage.map(&path);
        Ok((name, opened.map_err(|error| Error::io(format!("read {}", path.display()), error))?))
    };
    let mut files = last.segments.iter().cloned().map(open).collect::<Result<Vec<_>>>()?;
    files.push((store::META.into(), OwnedBytes::new(last.meta.clone())));
    for extent in &last.commit.logs {
        let (name, log) = open(extent.file.clone())?;
        let length = usize::try_from(extent.bytes).unwrap_or(usize::MAX);
        if log.len() < length {
            return Err(Error::corrupt(format!("{} is too short", partition.at(&name).display())));
        }
        files.push((name, log.slice(0..length)));
    }
    // The graph is derived, and built again if it does not fit.
    files.extend(open(super::writer::GRAPH.into()).ok());
    Ok(files)
}

fn write_copy(folder: &Folder, name: &str, content: &[u8], ctx: &RunContext) -> Result<()> {
    let path = folder.at(name);
    let attempt = |error| Error::io(format!("write {}", path.display()), error);
    if let Some(parent) = path.parent() {
        create_folders(&*folder.storage, parent).map_err(attempt)?;
    }
    let mut file = folder.storage.create(&path).map_err(attempt)?;
    for piece in content.chunks(PIECE) {
        ctx.check()?;
        file.write_all(piece).map_err(attempt)?;
    }
    file.sync().map_err(attempt)
}

pub(super) fn check(root: &Folder, ctx: &RunContext) -> Result<BackupReport> {
    let manifest = layout::manifest(root)?;
    let (partitions, dimension) = (manifest.partitions(root), manifest.embedder.dimension);
    let mut report = BackupReport::default();
    for scope in layout::scopes(&partitions)? {
        let partition = layout::partition(&partitions, &scope);
        let damaged = |error: Error| {
            let what =
                format!("collection {} of tenant {}", scope.collection().as_str(), scope.tenant().as_str());
            Error::new(error.kind(), format!("{what}: {}", error.chain()))
        };
        let snapshot = store::read(&partition, dimension).map_err(damaged)?;
        report.collections += 1;
        report.documents += check_documents(&snapshot, ctx).map_err(damaged)?;
        report.chunks += snapshot.chunks();
        report.bytes += bytes(&partition).map_err(damaged)?;
    }
    Ok(report)
}

/// Bytes of the files of the last commit.
fn bytes(partition: &Folder) -> Result<u64> {
    Ok(open_files(partition)?.iter().map(|(_, content)| content.len() as u64).sum())
}

/// Reads every document and its chunks.
fn check_documents(snapshot: &Snapshot, ctx: &RunContext) -> Result<u64> {
    let (mut count, mut chunks, mut last) = (0, 0, None);
    loop {
        ctx.check()?;
        let page = snapshot.document_ids(last.as_ref(), PAGE)?;
        if page.is_empty() {
            break;
        }
        for id in page {
            let id = DocumentId::new(id)?;
            chunks += check_document(snapshot, &id)?;
            count += 1;
            last = Some(id);
        }
    }
    if chunks == snapshot.chunks() {
        return Ok(count);
    }
    Err(Error::corrupt(format!("{} chunks are there, {chunks} belong to documents", snapshot.chunks())))
}

fn check_document(snapshot: &Snapshot, id: &DocumentId) -> Result<u64> {
    let damaged = |problem: &str| Error::corrupt(format!("document {:?} {problem}", id.as_str()));
    let record = snapshot.document(id)?.ok_or_else(|| damaged("is listed but not there"))?;
    let chunks = snapshot.chunks_of(id)?;
    upsert::source_text(&record, &chunks)?;
    if chunks.iter().any(|(_, slot)| snapshot.vectors.row(*slot).is_empty()) {
        return Err(damaged("has a chunk without a vector"));
    }
    if chunks.len() as u64 != record.chunks {
        return Err(damaged("lacks chunks"));
    }
    Ok(record.chunks)
}
