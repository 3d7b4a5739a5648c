//! The index's folder: manifest, writer lock, and where each partition lives.
//!
//! ```text
//! index.json                              format and embedding model, sealed
//! writer.lock                             held by the one writer; names it
//! partitions/<tenant>/<collection>/text/  the text index and, in its commits, the commit point of both legs
//! partitions/<tenant>/<collection>/vectors-000001.log
//! partitions/<tenant>/<collection>/graph  derived, may be missing
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use agentkit_core::{EmbedderIdentity, Error, ErrorKind, Result, TenantScope};
use serde::{Deserialize, Serialize};

use super::sealed;

/// The format this build reads and writes.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    embedder: EmbedderIdentity,
}

/// Holds the writer's lock until dropped.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

/// Creates the folder if needed, takes the lock, and checks or writes the manifest.
pub(super) fn open_for_writing(root: &Path, embedder: &EmbedderIdentity) -> Result<WriterLock> {
    std::fs::create_dir_all(root.join("partitions"))
        .map_err(|error| Error::io(format!("create index folder {}", root.display()), error))?;
    let lock = lock(root)?;
    match check_manifest(root, embedder) {
        Err(error) if error.is_not_found() => write_manifest(root, embedder)?,
        checked => checked?,
    }
    Ok(lock)
}

/// Checks that there is an index made with this model.
pub(super) fn check_manifest(root: &Path, embedder: &EmbedderIdentity) -> Result<()> {
    let path = root.join("index.json");
    let damaged = |error| Error::corrupt(format!("{} is not a manifest", path.display())).with_source(error);
    let manifest: Manifest = serde_json::from_slice(&sealed::read(&path)?).map_err(damaged)?;
    if manifest.format != FORMAT {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "index {} has format {}, this build reads format {FORMAT}",
                root.display(),
                manifest.format
            ),
        ));
    }
    if manifest.embedder != *embedder {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "index {} was made with embedding model {}, not {}; open it with that model, or ingest the documents into another folder",
                root.display(),
                described(&manifest.embedder),
                described(embedder),
            ),
        ));
    }
    Ok(())
}

/// The folder of a scope's partition. Tenant and collection names cannot leave it by construction.
pub(super) fn partition(root: &Path, scope: &TenantScope) -> PathBuf {
    root.join("partitions").join(scope.tenant().as_str()).join(scope.collection().as_str())
}

fn described(identity: &EmbedderIdentity) -> String {
    let revision = identity.revision.get(..12).unwrap_or(&identity.revision);
    format!("{} ({} dimensions, revision {revision})", identity.name, identity.dimension)
}

fn write_manifest(root: &Path, embedder: &EmbedderIdentity) -> Result<()> {
    let manifest = Manifest { format: FORMAT, embedder: embedder.clone() };
    let json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| Error::internal("serialise the manifest").with_source(error))?;
    sealed::write(&root.join("index.json"), &json)
        .map_err(|error| Error::io(format!("write the manifest of index {}", root.display()), error))
}

fn lock(root: &Path) -> Result<WriterLock> {
    let path = root.join("writer.lock");
    let attempt = || format!("lock {}", path.display());
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|error| Error::io(attempt(), error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(Error::io(attempt(), error)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // What the holder wrote is only for the message.
            let _ = file.read_to_string(&mut holder);
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "index {} already has a writer ({}); stop it or write through it",
                    root.display(),
                    holder.trim()
                ),
            ));
        }
    }
    let named = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "process {}", std::process::id()));
    named.map_err(|error| Error::io(attempt(), error))?;
    Ok(WriterLock { _file: file })
}
