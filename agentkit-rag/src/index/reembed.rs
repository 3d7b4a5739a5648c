//! Embedding an index anew with another model, while it is searched and written to.
//!
//! The next edition is made beside the living one: the stored chunks keep their ids, texts and places and get new
//! vectors. Writes go to the living edition alone, whose writers note what they change; that is copied again until
//! little is left. Then the gate is closed for a moment, the last changes are copied, and one replacement of the manifest makes the
//! next edition the living one. `docs/adr/0016-reembedding.md` says why not every write goes to both.
//!
//! Always true: a document is copied as the living edition holds it while nobody else copies, so the last copy made
//! after a change has it.

use std::collections::HashMap;
use std::sync::Arc;

use agentkit_core::{DocumentId, Embedder, Error, Result, RunContext, TenantScope};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::edition::Edition;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::storage::remove_folder;
use super::upsert::{self, Prepared};
use super::writer::{Change, Outcome};
use super::{Index, layout};

/// Documents copied at a time.
const PAGE: usize = 32;
/// So many changes or fewer are copied while writers wait.
const FEW: u64 = 64;
/// Rounds of copying what has changed before the gate is closed whatever is left.
const ROUNDS: usize = 16;

/// Is told how far it has come.
type Notify = dyn Fn(ReembedProgress) + Send + Sync;

/// What embedding anew did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReembedReport {
    /// Documents copied, those that changed meanwhile more than once.
    pub documents: u64,
    /// Chunks embedded.
    pub chunks: u64,
}

/// How far embedding anew has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReembedProgress {
    /// Documents copied so far.
    pub done: u64,
    /// Documents there were at the beginning.
    pub total: u64,
}

impl Index {
    /// Embeds everything anew with `embedder`, which the index then uses in place of its own.
    ///
    /// Searches and writes go on meanwhile as before; when it returns, all of them use the new model, and the old
    /// vectors are gone. Chunks stay as they are: only their vectors change. The disk holds both editions for
    /// the time. A process that has the index open read-only goes on with the collections it has opened, and is told to open it
    /// again for others.
    ///
    /// With the model it already uses, an index of an earlier format is brought to the present one, and keeps its vectors.
    /// An index of the present format is left alone.
    ///
    /// # Cancel safety
    /// If dropped, the index is as before, or wholly embedded anew if the last step had begun. What was done is lost.
    ///
    /// # Errors
    /// What the embedder returns, conflict if it is already under way, stopped, resource exhausted, corrupt, unavailable, or
    /// unsupported if the index is read-only. The index then is as before.
    pub async fn reembed(
        &self,
        embedder: Arc<dyn Embedder>,
        on_progress: impl Fn(ReembedProgress) + Send + Sync + 'static,
        ctx: &RunContext,
    ) -> Result<ReembedReport> {
        self.shared.check_writable()?;
        let living = self.shared.living();
        if living.embedder.identity() == embedder.identity() && !living.manifest.is_old() {
            return Ok(ReembedReport::default());
        }
        let manifest = living.manifest.next(embedder.identity().clone());
        let next = Arc::new(Edition::new(&self.shared.root, manifest, embedder, true));
        let run = Run::begin(&self.shared, Copier { living, next, over: Mutex::default() })?;
        let inner = ctx.child();
        let _guard = inner.cancel_on_drop();
        // A task of its own, so that it tidies up even if nobody waits for it any more.
        let task = tokio::spawn(async move { run.run(&on_progress, &inner).await });
        task.await.unwrap_or_else(|join| Err(Error::internal("embedding anew panicked").with_source(join)))
    }
}

/// Embedding anew, from the beginning to the end of this value.
struct Run {
    shared: Arc<Shared>,
    copier: Arc<Copier>,
}

impl Run {
    fn begin(shared: &Arc<Shared>, copier: Copier) -> Result<Self> {
        let copier = Arc::new(copier);
        shared.begin(&copier)?;
        copier.living.changes.begin();
        Ok(Self { shared: shared.clone(), copier })
    }

    async fn run(self, on_progress: &Notify, ctx: &RunContext) -> Result<ReembedReport> {
        let outcome = self.replace(on_progress, ctx).await;
        let mut over = self.copier.over.lock().await;
        // If it is in doubt which edition the next process finds, both must be there for it.
        if self.shared.check_writable().is_ok() {
            remove(if outcome.is_ok() { &self.copier.living } else { &self.copier.next }).await;
        }
        *over = true;
        outcome
    }

    async fn replace(&self, on_progress: &Notify, ctx: &RunContext) -> Result<ReembedReport> {
        let copier = &self.copier;
        // An interrupted run may have left files where the next edition goes.
        let (root, manifest) = (self.shared.root.clone(), copier.living.manifest.clone());
        ctx.run_blocking(move |_| layout::remove_leftovers(&root, &manifest)).await?;
        copier.next.create().await?;
        let mut report = copier.copy_all(on_progress, ctx).await?;
        for _ in 0..ROUNDS {
            if copier.catch_up(&mut report, ctx).await? <= FEW {
                break;
            }
        }
        let gate = self.shared.close_gate().await;
        for partition in copier.living.opened().await {
            // A write whose caller has gone may still be in the queue; this one is behind it.
            partition.write(Vec::new()).await?;
        }
        copier.catch_up(&mut report, ctx).await?;
        self.shared.replace(copier.next.clone(), gate).await?;
        Ok(report)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.copier.living.changes.end();
        self.shared.end();
    }
}

/// Closes an edition and removes its files; what cannot be removed is when the index is opened next.
async fn remove(edition: &Edition) {
    edition.retire().await;
    let folder = edition.folder();
    let remove = move |_: &RunContext| {
        let removed = remove_folder(&*folder.storage, &folder.path);
        removed.map_err(|error| Error::io(format!("remove {}", folder.path.display()), error))
    };
    if let Err(error) = RunContext::new().run_blocking(remove).await {
        tracing::warn!(error = error.chain(), "old vectors are removed when the index is opened next");
    }
}

/// Copies documents from the living edition to the next.
pub(super) struct Copier {
    living: Arc<Edition>,
    next: Arc<Edition>,
    /// Held while documents are read and written; whether one of the two editions is gone.
    over: Mutex<bool>,
}

impl Copier {
    async fn copy_all(&self, on_progress: &Notify, ctx: &RunContext) -> Result<ReembedReport> {
        let scopes = self.living.scopes().await?;
        let mut report = ReembedReport::default();
        let mut total = 0;
        for scope in &scopes {
            total += self.living.created(scope).await?.snapshot().documents();
        }
        for scope in &scopes {
            let mut last = None;
            loop {
                on_progress(ReembedProgress { done: report.documents, total });
                let snapshot = self.living.created(scope).await?.snapshot();
                let after = last.take();
                let page = ctx.run_blocking(move |_| snapshot.document_ids(after.as_ref(), PAGE)).await?;
                let ids = page.into_iter().map(DocumentId::new).collect::<Result<Vec<_>>>()?;
                let Some(id) = ids.last() else { break };
                last = Some(id.clone());
                self.copy(scope, ids, &mut report, ctx).await?;
            }
        }
        Ok(report)
    }

    /// Copies what has changed since the last time, and says how much that was.
    async fn catch_up(&self, report: &mut ReembedReport, ctx: &RunContext) -> Result<u64> {
        let mut changed = 0;
        for (scope, ids) in self.living.changes.take() {
            changed += ids.len() as u64;
            for ids in ids.chunks(PAGE) {
                self.copy(&scope, ids.to_vec(), report, ctx).await?;
            }
        }
        Ok(changed)
    }

    async fn copy(
        &self,
        scope: &TenantScope,
        ids: Vec<DocumentId>,
        report: &mut ReembedReport,
        ctx: &RunContext,
    ) -> Result<()> {
        let _over = self.over.lock().await;
        self.copy_alone(scope, ids, report, ctx).await
    }

    /// Copies documents as they are now; those that are not there any more are deleted.
    async fn copy_alone(
        &self,
        scope: &TenantScope,
        ids: Vec<DocumentId>,
        report: &mut ReembedReport,
        ctx: &RunContext,
    ) -> Result<()> {
        let from = self.living.created(scope).await?.snapshot();
        let to = self.next.created(scope).await?;
        let same_model = self.living.embedder.identity() == self.next.embedder.identity();
        let (prepared, mut changes, known) =
            ctx.run_blocking(move |ctx| read(&from, ids, same_model, ctx)).await?;
        report.documents += prepared.len() as u64;
        report.chunks += upsert::counts(&prepared).0;
        let model = &*self.next.embedder;
        changes.extend(upsert::embed(prepared, model, &known, &to.snapshot().vectors, ctx).await?);
        match to.write(changes).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Stale => Err(Error::internal("a copy keeps no vectors, so it cannot be stale")),
        }
    }

    /// Removes documents that have been deleted from the files of the next edition too; if there are two no longer,
    /// there is nothing to do.
    pub(super) async fn forget(
        &self,
        scope: &TenantScope,
        ids: &[DocumentId],
        ctx: &RunContext,
    ) -> Result<()> {
        let over = self.over.lock().await;
        if *over {
            return Ok(());
        }
        self.copy_alone(scope, ids.to_vec(), &mut ReembedReport::default(), ctx).await?;
        ctx.run(self.next.created(scope).await?.compact()).await
    }
}

/// Vectors by the content of their chunks.
type Known = HashMap<String, Vec<f32>>;

/// The documents that are there, the deletion of those that are not, and the vectors that may be kept.
fn read(
    snapshot: &Snapshot,
    ids: Vec<DocumentId>,
    same_model: bool,
    ctx: &RunContext,
) -> Result<(Vec<Prepared>, Vec<Change>, Known)> {
    let (mut prepared, mut gone, mut known) = (Vec::new(), Vec::new(), HashMap::new());
    for id in ids {
        ctx.check()?;
        let Some(record) = snapshot.document(&id)? else {
            gone.push(Change::Delete(id));
            continue;
        };
        let chunks = snapshot.chunks_of(&id)?;
        if same_model {
            let vector = |slot: u32| snapshot.vectors.row(slot).to_vec();
            known.extend(chunks.iter().map(|(chunk, slot)| (chunk.content.clone(), vector(*slot))));
        }
        prepared.push(Prepared::stored(record, chunks));
    }
    Ok((prepared, gone, known))
}
