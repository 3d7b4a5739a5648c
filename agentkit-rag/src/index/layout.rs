//! The index's folder: manifest, writer lock, and where each partition lives.
//!
//! ```text
//! index.json                              format, embedding model and the folder of the partitions, sealed
//! writer.lock                             held by the one writer; names it
//! partitions/<tenant>/<collection>/text/  the text index and, in its commits, the commit point of both legs
//! partitions/<tenant>/<collection>/vectors-000001.log  and so on
//! partitions/<tenant>/<collection>/graph  derived, may be missing
//! ```
//!
//! Once embedded anew the partitions are in `partitions-2`, then in `partitions-3`, and so on. A folder of this kind that
//! the manifest does not name is left over from an interrupted embedding, or from before the last one.

use agentkit_core::{CollectionName, EmbedderIdentity, Error, ErrorKind, Result, TenantId, TenantScope};
use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::sealed;
use super::storage::{Folder, Lock, create_folders, remove_folder};

/// The format this build makes, and the last it reads.
const FORMAT: u32 = 2;
/// The first format it reads; in such an index all words are taken for English.
const ENGLISH_ONLY: u32 = 1;
const MANIFEST: &str = "index.json";
const PARTITIONS: &str = "partitions";

/// What `index.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub(super) embedder: EmbedderIdentity,
    /// How often the index has been embedded, which names the folder of the partitions.
    #[serde(default = "once")]
    edition: u32,
}

const fn once() -> u32 {
    1
}

impl Manifest {
    fn new(embedder: EmbedderIdentity) -> Self {
        Self { format: FORMAT, embedder, edition: once() }
    }

    /// How the words of the partitions are treated.
    pub(super) fn analysis(&self) -> Analysis {
        if self.format == ENGLISH_ONLY { Analysis::EnglishOnly } else { Analysis::Multilingual }
    }

    /// Whether the partitions are of an earlier format than this build makes.
    pub(super) fn is_old(&self) -> bool {
        self.format < FORMAT
    }

    /// The manifest of the same index embedded anew, in the format this build makes.
    pub(super) fn next(&self, embedder: EmbedderIdentity) -> Self {
        Self { format: FORMAT, embedder, edition: self.edition.saturating_add(1) }
    }

    /// Where the partitions are.
    pub(super) fn partitions(&self, root: &Folder) -> Folder {
        root.folder(match self.edition {
            1 => PARTITIONS.to_owned(),
            edition => format!("{PARTITIONS}-{edition}"),
        })
    }
}

/// Creates the folder if needed, takes the lock, and checks or writes the manifest.
pub(super) fn open_for_writing(root: &Folder, embedder: &EmbedderIdentity) -> Result<(Lock, Manifest)> {
    let create = |folder: &Folder| {
        create_folders(&*folder.storage, &folder.path)
            .map_err(|error| Error::io(format!("create index folder {}", folder.path.display()), error))
    };
    create(root)?;
    let lock = lock(root)?;
    let manifest = match checked_manifest(root, embedder) {
        Err(error) if error.is_not_found() => {
            let manifest = Manifest::new(embedder.clone());
            create(&manifest.partitions(root))?;
            write_manifest(root, &manifest)?;
            manifest
        }
        checked => checked?,
    };
    remove_leftovers(root, &manifest)?;
    Ok((lock, manifest))
}

/// Removes the partitions of other editions.
pub(super) fn remove_leftovers(root: &Folder, manifest: &Manifest) -> Result<()> {
    let living = manifest.partitions(root).path;
    let failed = |error| Error::io(format!("remove old partitions in {}", root.path.display()), error);
    for name in root.storage.list(&root.path).map_err(failed)? {
        let rest = name.strip_prefix(PARTITIONS).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
        let is_edition = rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if is_edition && root.at(&name) != living {
            remove_folder(&*root.storage, &root.at(&name)).map_err(failed)?;
        }
    }
    Ok(())
}

/// The manifest of an index.
pub(super) fn manifest(root: &Folder) -> Result<Manifest> {
    let path = root.at(MANIFEST);
    let damaged = |error| Error::corrupt(format!("{} is not a manifest", path.display())).with_source(error);
    let manifest: Manifest =
        serde_json::from_slice(&sealed::read(&*root.storage, &path)?).map_err(damaged)?;
    if (ENGLISH_ONLY..=FORMAT).contains(&manifest.format) {
        return Ok(manifest);
    }
    let (path, format) = (root.path.display(), manifest.format);
    let message =
        format!("index {path} has format {format}, this build reads formats {ENGLISH_ONLY} to {FORMAT}");
    Err(Error::new(ErrorKind::Mismatch, message))
}

/// The manifest of an index that must be made with this model.
pub(super) fn checked_manifest(root: &Folder, embedder: &EmbedderIdentity) -> Result<Manifest> {
    let manifest = manifest(root)?;
    if manifest.embedder != *embedder {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "index {} was made with embedding model {}, not {}; open it with that model, or embed it anew with this one (agentkit-server reembed, Index::reembed)",
                root.path.display(),
                described(&manifest.embedder),
                described(embedder),
            ),
        ));
    }
    Ok(manifest)
}

/// The folder of a scope's partition. Tenant and collection names cannot leave it by construction.
pub(super) fn partition(partitions: &Folder, scope: &TenantScope) -> Folder {
    partitions.folder(scope.tenant().as_str()).folder(scope.collection().as_str())
}

/// Whether anything was ever written to a scope's partition.
pub(super) fn holds_partition(partitions: &Folder, scope: &TenantScope) -> Result<bool> {
    let path = partition(partitions, scope).at("text/meta.json");
    let length = partitions.storage.length(&path);
    Ok(length.map_err(|error| Error::io(format!("look for {}", path.display()), error))?.is_some())
}

/// The scopes of all partitions that hold something.
pub(super) fn scopes(partitions: &Folder) -> Result<Vec<TenantScope>> {
    let mut scopes = Vec::new();
    for tenant in list(partitions)? {
        let tenant = TenantId::new(tenant)?;
        let home = TenantScope::for_tenant(tenant.clone());
        let collections = collections(partitions, &tenant)?.into_iter();
        scopes.extend(collections.map(|collection| home.in_collection(collection)));
    }
    Ok(scopes)
}

/// The collections of a tenant that hold something, by name.
pub(super) fn collections(partitions: &Folder, tenant: &TenantId) -> Result<Vec<CollectionName>> {
    let mut held = Vec::new();
    let names = match list(&partitions.folder(tenant.as_str())) {
        Err(error) if error.is_not_found() => Vec::new(),
        names => names?,
    };
    for name in names {
        let name = CollectionName::new(name)?;
        let scope = TenantScope::for_tenant(tenant.clone()).in_collection(name.clone());
        if holds_partition(partitions, &scope)? {
            held.push(name);
        }
    }
    held.sort();
    Ok(held)
}

fn list(folder: &Folder) -> Result<Vec<String>> {
    let names = folder.storage.list(&folder.path);
    names.map_err(|error| Error::io(format!("list {}", folder.path.display()), error))
}

/// A manifest read and written again, or `None` if it is none.
pub(super) fn rewritten(json: &[u8]) -> Option<Vec<u8>> {
    let manifest: Manifest = serde_json::from_slice(json).ok()?;
    serde_json::to_vec_pretty(&manifest).ok()
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
