//! What all clones of an index share: the living edition, and the gate through which writes reach it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use agentkit_core::{Embedder, Error, ErrorKind, Result, RunContext, TenantScope};

use super::edition::Edition;
use super::layout::{self, Manifest};
use super::partition::{self, Partition};
use super::reembed::Copier;
use super::storage::{Folder, Lock};
use super::writer::{Change, Outcome};
use crate::chunk::{Chunker, StructureChunker};

pub(super) struct Shared {
    pub(super) root: Folder,
    pub(super) chunker: Arc<dyn Chunker>,
    living: RwLock<Arc<Edition>>,
    /// What makes the next edition, if anything does.
    copier: Mutex<Option<Arc<Copier>>>,
    /// Writes go through it together, the change of the living edition alone.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// Whether it is in doubt which edition the next process will find.
    in_doubt: AtomicBool,
    /// `None` if the index was opened read-only. Declared last, so that it is released last.
    lock: Option<Lock>,
}

impl Shared {
    pub(super) fn new(
        root: Folder,
        manifest: Manifest,
        embedder: Arc<dyn Embedder>,
        lock: Option<Lock>,
    ) -> Self {
        let living = Edition::new(&root, manifest, embedder, lock.is_some());
        Self {
            root,
            chunker: Arc::new(StructureChunker::default()),
            living: RwLock::new(Arc::new(living)),
            copier: Mutex::default(),
            gate: Arc::default(),
            in_doubt: AtomicBool::new(false),
            lock,
        }
    }

    pub(super) fn living(&self) -> Arc<Edition> {
        self.living.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_living(&self, edition: &Arc<Edition>) -> bool {
        Arc::ptr_eq(edition, &self.living())
    }

    pub(super) fn copier(&self) -> Option<Arc<Copier>> {
        self.copier.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes `copier` the one, unless there is one.
    pub(super) fn begin(&self, copier: &Arc<Copier>) -> Result<()> {
        let mut current = self.copier.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_some() {
            return Err(Error::new(ErrorKind::Conflict, "the index is already being embedded anew"));
        }
        *current = Some(copier.clone());
        Ok(())
    }

    pub(super) fn end(&self) {
        *self.copier.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Fails if nothing may be written.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.lock.is_none() {
            return Err(partition::read_only());
        }
        if self.in_doubt.load(Ordering::Acquire) {
            let message = "the manifest of the index could not be written; close the index and open it again";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    /// The scope's partition in the living edition, created if needed, for writing.
    pub(super) async fn writable(&self, scope: &TenantScope) -> Result<(Arc<Edition>, Arc<Partition>)> {
        loop {
            self.check_writable()?;
            let edition = self.living();
            match edition.created(scope).await {
                Err(_) if !self.is_living(&edition) => {}
                partition => return Ok((edition, partition?)),
            }
        }
    }

    /// The scope's partition in the living edition, or `None` if nothing was ever written to it.
    pub(super) async fn readable(
        &self,
        scope: &TenantScope,
    ) -> Result<(Arc<Edition>, Option<Arc<Partition>>)> {
        loop {
            let edition = self.living();
            match edition.partition(scope).await {
                Err(_) if !self.is_living(&edition) => {}
                partition => return Ok((edition, partition?)),
            }
        }
    }

    /// Writes to a partition of `edition`; stale if that is no longer the living one.
    pub(super) async fn write(
        &self,
        edition: &Arc<Edition>,
        partition: &Partition,
        changes: Vec<Change>,
    ) -> Result<Outcome> {
        let _gate = self.gate.read().await;
        self.check_writable()?;
        if !self.is_living(edition) {
            return Ok(Outcome::Stale);
        }
        partition.write(changes).await
    }

    /// Closes the gate: nothing is written while the answer is held.
    pub(super) async fn close_gate(&self) -> tokio::sync::OwnedRwLockWriteGuard<()> {
        self.gate.clone().write_owned().await
    }

    /// Makes `next` the living edition, here and for all processes to come; what `held` keeps is let go when both are
    /// done, even if nobody waits for it.
    ///
    /// If the manifest cannot be written, whether it was is in doubt, and nothing is written any more.
    pub(super) async fn replace(
        self: &Arc<Self>,
        next: Arc<Edition>,
        held: impl Send + 'static,
    ) -> Result<()> {
        let shared = self.clone();
        let replace = move |_: &RunContext| {
            let written = layout::write_manifest(&shared.root, &next.manifest)
                .or_else(|_| layout::write_manifest(&shared.root, &next.manifest));
            shared.in_doubt.store(written.is_err(), Ordering::Release);
            if written.is_ok() {
                *shared.living.write().unwrap_or_else(PoisonError::into_inner) = next;
            }
            drop(held);
            written
        };
        RunContext::new().run_blocking(replace).await
    }
}
