//! One edition of an index: an embedding model, and the partitions whose vectors it made.
//!
//! An index has one living edition. Embedding it anew makes the next one beside it, after which the old one is retired:
//! it opens nothing any more, so that whoever still holds it has to turn to the living one.

use std::collections::HashMap;
use std::sync::Arc;

use agentkit_core::{CollectionName, Embedder, Error, ErrorKind, Result, RunContext, TenantId, TenantScope};
use tokio::sync::Mutex;

use super::changes::Changes;
use super::contained::contained;
use super::layout::{self, Manifest};
use super::partition::Partition;
use super::storage::{Folder, create_folders};
use super::store::Kind;

pub(super) struct Edition {
    pub(super) manifest: Manifest,
    pub(super) embedder: Arc<dyn Embedder>,
    /// What writers change, while the next edition is made.
    pub(super) changes: Changes,
    root: Folder,
    writes: bool,
    /// `None` once retired.
    open: Mutex<Option<HashMap<TenantScope, Arc<Partition>>>>,
}

impl Edition {
    pub(super) fn new(root: &Folder, manifest: Manifest, embedder: Arc<dyn Embedder>, writes: bool) -> Self {
        let open = Mutex::new(Some(HashMap::new()));
        Self { manifest, embedder, changes: Changes::default(), root: root.clone(), writes, open }
    }

    /// The folder of the partitions.
    pub(super) fn folder(&self) -> Folder {
        self.manifest.partitions(&self.root)
    }

    /// The scope's partition, or `None` if nothing was ever written to it.
    pub(super) async fn partition(&self, scope: &TenantScope) -> Result<Option<Arc<Partition>>> {
        let mut open = self.open.lock().await;
        let open = open.as_mut().ok_or_else(retired)?;
        if let Some(partition) = open.get(scope) {
            return Ok(Some(partition.clone()));
        }
        if !self.writes {
            self.check_living()?;
        }
        if !layout::holds_partition(&self.folder(), scope)? {
            return Ok(None);
        }
        self.open(open, scope).await.map(Some)
    }

    /// The scope's partition, created if needed.
    pub(super) async fn created(&self, scope: &TenantScope) -> Result<Arc<Partition>> {
        let mut open = self.open.lock().await;
        let open = open.as_mut().ok_or_else(retired)?;
        match open.get(scope) {
            Some(partition) => Ok(partition.clone()),
            None => self.open(open, scope).await,
        }
    }

    async fn open(
        &self,
        open: &mut HashMap<TenantScope, Arc<Partition>>,
        scope: &TenantScope,
    ) -> Result<Arc<Partition>> {
        let folder = layout::partition(&self.folder(), scope);
        let dimension = self.manifest.embedder.dimension;
        let kind = Kind { dimension, analysis: self.manifest.analysis() };
        let changes = self.writes.then(|| self.changes.of(scope));
        let open_files = move |_: &RunContext| {
            contained(&folder.path, || match changes {
                Some(changes) => Partition::open(&folder, kind, changes),
                None => Partition::open_read_only(&folder, dimension),
            })
        };
        let partition = Arc::new(RunContext::new().run_blocking(open_files).await?);
        open.insert(scope.clone(), partition.clone());
        Ok(partition)
    }

    /// Creates the folder of the partitions.
    pub(super) async fn create(&self) -> Result<()> {
        let folder = self.folder();
        let create = move |_: &RunContext| {
            let created = create_folders(&*folder.storage, &folder.path);
            created.map_err(|error| Error::io(format!("create {}", folder.path.display()), error))
        };
        RunContext::new().run_blocking(create).await
    }

    /// All partitions on the disk.
    pub(super) async fn scopes(&self) -> Result<Vec<TenantScope>> {
        let folder = self.folder();
        RunContext::new().run_blocking(move |_| layout::scopes(&folder)).await
    }

    /// The collections of a tenant on the disk, by name.
    pub(super) async fn collections(&self, tenant: &TenantId) -> Result<Vec<CollectionName>> {
        let (folder, tenant) = (self.folder(), tenant.clone());
        RunContext::new().run_blocking(move |_| layout::collections(&folder, &tenant)).await
    }

    /// The partitions that are open.
    pub(super) async fn opened(&self) -> Vec<Arc<Partition>> {
        self.open.lock().await.iter().flat_map(HashMap::values).cloned().collect()
    }

    /// Opens nothing any more, and closes the partitions that nobody uses just now.
    pub(super) async fn retire(&self) {
        let partitions = self.open.lock().await.take();
        let close = move |_: &RunContext| {
            drop(partitions);
            Ok(())
        };
        // Closing cannot fail, and nobody could do anything about it.
        let _ = RunContext::new().run_blocking(close).await;
    }

    /// What another process may have replaced must not be taken for an empty index.
    fn check_living(&self) -> Result<()> {
        if layout::manifest(&self.root)? == self.manifest {
            return Ok(());
        }
        let message =
            format!("index {} was embedded anew meanwhile; open it again", self.root.path.display());
        Err(Error::new(ErrorKind::Mismatch, message))
    }
}

fn retired() -> Error {
    Error::new(ErrorKind::Conflict, "the index was embedded anew meanwhile; try again")
}
