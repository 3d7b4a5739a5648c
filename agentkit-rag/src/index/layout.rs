//! The index's folder: manifest, writer lock, and where each partition lives.
//!
//! ```text
//! index.json                              format and embedding model, sealed
//! writer.lock                             held by the one writer; names it
//! partitions/<tenant>/<collection>/text/  the text index and, in its commits, the commit point of both legs
//! partitions/<tenant>/<collection>/vectors-000001.log  and so on
//! partitions/<tenant>/<collection>/graph  derived, may be missing
//! ```

use agentkit_core::{EmbedderIdentity, Error, ErrorKind, Result, TenantScope};
use serde::{Deserialize, Serialize};

use super::sealed;
use super::storage::{Folder, Lock, create_folders};

/// The format this build reads and writes.
const FORMAT: u32 = 1;
const MANIFEST: &str = "index.json";
pub(super) const PARTITIONS: &str = "partitions";

/// What `index.json` says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub(super) embedder: EmbedderIdentity,
}

/// Creates the folder if needed, takes the lock, and checks or writes the manifest.
pub(super) fn open_for_writing(root: &Folder, embedder: &EmbedderIdentity) -> Result<Lock> {
    create_folders(&*root.storage, &root.at(PARTITIONS))
        .map_err(|error| Error::io(format!("create index folder {}", root.path.display()), error))?;
    let lock = lock(root)?;
    match check_manifest(root, embedder) {
        Err(error) if error.is_not_found() => {
            write_manifest(root, &Manifest { format: FORMAT, embedder: embedder.clone() })?;
        }
        checked => checked?,
    }
    Ok(lock)
}

/// The manifest of an index.
pub(super) fn manifest(root: &Folder) -> Result<Manifest> {
    let path = root.at(MANIFEST);
    let damaged = |error| Error::corrupt(format!("{} is not a manifest", path.display())).with_source(error);
    let manifest: Manifest =
        serde_json::from_slice(&sealed::read(&*root.storage, &path)?).map_err(damaged)?;
    if manifest.format == FORMAT {
        return Ok(manifest);
    }
    let (path, format) = (root.path.display(), manifest.format);
    let message = format!("index {path} has format {format}, this build reads format {FORMAT}");
    Err(Error::new(ErrorKind::Mismatch, message))
}

/// Checks that there is an index made with this model.
pub(super) fn check_manifest(root: &Folder, embedder: &EmbedderIdentity) -> Result<()> {
    let manifest = manifest(root)?;
    if manifest.embedder != *embedder {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "index {} was made with embedding model {}, not {}; open it with that model, or ingest the documents into another folder",
                root.path.display(),
                described(&manifest.embedder),
                described(embedder),
            ),
        ));
    }
    Ok(())
}

/// The folder of a scope's partition. Tenant and collection names cannot leave it by construction.
pub(super) fn partition(root: &Folder, scope: &TenantScope) -> Folder {
    root.folder(PARTITIONS).folder(scope.tenant().as_str()).folder(scope.collection().as_str())
}

/// Whether anything was ever written to a scope's partition.
pub(super) fn holds_partition(root: &Folder, scope: &TenantScope) -> Result<bool> {
    let path = partition(root, scope).at("text/meta.json");
    let length = root.storage.length(&path);
    Ok(length.map_err(|error| Error::io(format!("look for {}", path.display()), error))?.is_some())
}

fn described(identity: &EmbedderIdentity) -> String {
    let revision = identity.revision.get(..12).unwrap_or(&identity.revision);
    format!("{} ({} dimensions, revision {revision})", identity.name, identity.dimension)
}

pub(super) fn write_manifest(root: &Folder, manifest: &Manifest) -> Result<()> {
    let json = serde_json::to_vec_pretty(manifest)
        .map_err(|error| Error::internal("serialise the manifest").with_source(error))?;
    sealed::write(&*root.storage, &root.at(MANIFEST), &json)
        .map_err(|error| Error::io(format!("write the manifest of index {}", root.path.display()), error))
}

fn lock(root: &Folder) -> Result<Lock> {
    let path = root.at("writer.lock");
    let holder = format!("process {}", std::process::id());
    let taken = root.storage.try_lock(&path, &holder);
    taken.map_err(|error| Error::io(format!("lock {}", path.display()), error))?.map_err(|holder| {
        Error::new(
            ErrorKind::Conflict,
            format!(
                "index {} already has a writer ({holder}); stop it or write through it",
                root.path.display()
            ),
        )
    })
}
