//! The one writer of a partition: a thread that takes writes from a bounded queue and commits them in groups.
//!
//! Writers that wait at the same time share one commit, and each is told only when its write is durable and
//! visible. After a failed commit the files are opened anew at the last commit, since Tantivy may by then hold
//! segments in memory that no commit names.

mod apply;
mod graphs;
mod upkeep;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use agentkit_core::{DocumentId, Error, ErrorKind, Result, RunContext};
use tokio::sync::{mpsc, oneshot};

use self::apply::Applied;
use self::graphs::Graphs;
pub(super) use self::graphs::{FILE as GRAPH, load as load_graph};
use self::upkeep::{Finished, Upkeep};
use super::changes::PartitionChanges;
use super::contained::contained;
use super::schema::{ChunkRecord, DocumentRecord};
use super::snapshot::Snapshot;
use super::storage::Folder;
use super::store::{Kind, Store};

/// Writes that may wait in the queue; more writers wait outside.
const QUEUE: usize = 64;
/// Most writes that share a commit.
const GROUP: usize = 256;

/// One change of the partition.
#[derive(Debug)]
pub(super) enum Change {
    /// Replaces the document and its chunks.
    Put(Box<DocumentRecord>, Vec<(ChunkRecord, Vector)>),
    /// Removes the document and its chunks.
    Delete(DocumentId),
}

impl Change {
    fn document(&self) -> &DocumentId {
        match self {
            Self::Put(record, _) => &record.id,
            Self::Delete(id) => id,
        }
    }
}

/// Where a chunk's vector is.
#[derive(Debug)]
pub(super) enum Vector {
    /// Already in this slot.
    Kept(u32),
    /// To be appended.
    New(Vec<f32>),
}

/// What a write did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) generation: u64,
    /// Documents that existed before and were deleted or replaced.
    pub(super) existed: u64,
}

/// What became of a write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// It is durable and visible.
    Done(Written),
    /// It keeps a vector that another write has made dead meanwhile; it has to be prepared anew. Nothing was written.
    Stale,
}

struct Write {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<Outcome>>,
}

enum Command {
    Write(Write),
    /// Removes everything that is deleted from the files.
    Compact(oneshot::Sender<Result<()>>),
    /// Work beside the writer has ended.
    Finished(Finished),
    /// A graph has been built, or could not be.
    GraphBuilt,
}

/// The current snapshot of a partition.
#[derive(Debug)]
pub(super) struct Published {
    current: RwLock<Arc<Snapshot>>,
    /// Held while a new snapshot is derived from the current one.
    changing: Mutex<()>,
}

impl Published {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { current: RwLock::new(Arc::new(snapshot)), changing: Mutex::new(()) }
    }

    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, next: impl FnOnce(&Snapshot) -> Result<Snapshot>) -> Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(next(&self.current())?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

/// The handle through which writes reach the thread.
#[derive(Debug)]
pub(super) struct Writer {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<std::thread::JoinHandle<()>>,
    background: RunContext,
}

impl Writer {
    /// Opens the partition's files and starts its writer.
    pub(super) fn start(
        folder: &Folder,
        kind: Kind,
        changes: PartitionChanges,
    ) -> Result<(Self, Arc<Published>)> {
        super::storage::create_folders(&*folder.storage, &folder.path)
            .map_err(|error| Error::io(format!("create partition {}", folder.path.display()), error))?;
        let store = Store::open(folder, kind)?;
        let published = Arc::new(Published::new(store.snapshot(None)?));
        let (commands, queue) = mpsc::channel(QUEUE);
        let background = RunContext::new();
        let mut worker = Worker {
            store: Some(store),
            folder: folder.clone(),
            kind,
            published: published.clone(),
            changes,
            unnoted: Vec::new(),
            graphs: Graphs::new(folder, published.clone(), commands.downgrade(), background.clone()),
            upkeep: Upkeep::new(folder, commands.downgrade(), background.clone()),
        };
        let thread = std::thread::Builder::new()
            .name("agentkit-writer".into())
            .spawn(move || worker.work(queue))
            .map_err(|error| Error::io("start the writer thread", error))?;
        Ok((Self { commands: Some(commands), thread: Some(thread), background }, published))
    }

    /// Carries out `changes` in one commit and waits until they are durable.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<Outcome> {
        self.command(|done| Command::Write(Write { changes, done })).await
    }

    /// Waits until nothing that was deleted before is left in the files.
    pub(super) async fn compact(&self) -> Result<()> {
        self.command(Command::Compact).await
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let closed = || Error::new(ErrorKind::Unavailable, "the index is closed");
        let (done, outcome) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or_else(closed)?;
        commands.send(command(done)).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }
}

/// Waits for the writes in the queue; a commit under way is finished.
impl Drop for Writer {
    fn drop(&mut self) {
        self.background.cancel();
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }
}

struct Worker {
    /// `None` after a failure, until the files have been opened anew.
    store: Option<Store>,
    folder: Folder,
    kind: Kind,
    published: Arc<Published>,
    changes: PartitionChanges,
    /// Documents of commits that were reported as failed: whether they are changed shows when the files are opened
    /// anew.
    unnoted: Vec<DocumentId>,
    graphs: Graphs,
    upkeep: Upkeep,
}

impl Worker {
    fn work(&mut self, mut queue: mpsc::Receiver<Command>) {
        self.graphs.keep_up();
        let mut next = queue.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Write(first) => {
                    let mut group = vec![first];
                    while group.len() < GROUP {
                        match queue.try_recv() {
                            Ok(Command::Write(write)) => group.push(write),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(group);
                }
                Command::Compact(done) => match self.reopen() {
                    Ok(()) => self.upkeep.request(done),
                    Err(error) => {
                        // One who no longer waits does not hear it.
                        let _ = done.send(Err(error));
                    }
                },
                Command::Finished(finished) => self.finish(finished),
                Command::GraphBuilt => self.graphs.built(),
            }
            self.look_after();
            if next.is_none() {
                next = queue.blocking_recv();
            }
        }
        self.graphs.stop();
        self.upkeep.stop();
    }

    fn commit(&mut self, group: Vec<Write>) {
        let (changes, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().map(|write| (write.changes, write.done)).unzip();
        let folder = self.folder.path.clone();
        match contained(&folder, || self.try_commit(changes)) {
            Ok(outcomes) => {
                for (done, outcome) in waiting.into_iter().zip(outcomes) {
                    // A writer that no longer waits has its write all the same.
                    let _ = done.send(Ok(outcome));
                }
            }
            Err(error) => {
                self.fail("a commit failed", &error);
                for done in waiting {
                    let _ = done.send(Err(Error::new(error.kind(), format!("commit: {}", error.chain()))));
                }
            }
        }
    }

    fn try_commit(&mut self, group: Vec<Vec<Change>>) -> Result<Vec<Outcome>> {
        self.reopen()?;
        let Some(store) = &mut self.store else { return Err(Error::internal("the partition is closed")) };
        let snapshot = self.published.current();
        let mut applied = Applied::default();
        let mut existed = Vec::with_capacity(group.len());
        for changes in group {
            let current = apply::is_current(&snapshot, &changes)?;
            self.unnoted.extend(changes.iter().map(Change::document).cloned());
            existed.push(if current { Some(applied.apply(store, &snapshot, changes)?) } else { None });
        }
        if existed.iter().any(Option::is_some) {
            store.commit()?;
            self.published.change(|current| store.snapshot(Some(current)))?;
        }
        self.changes.note(self.unnoted.drain(..));
        let generation = store.generation();
        let outcome = |existed: Option<u64>| {
            existed.map_or(Outcome::Stale, |existed| Outcome::Done(Written { generation, existed }))
        };
        Ok(existed.into_iter().map(outcome).collect())
    }

    /// Opens the files anew after a failure, and shows what they hold: a commit that was reported as failed may have
    /// become durable all the same.
    fn reopen(&mut self) -> Result<()> {
        if self.store.is_none() {
            let store = Store::open(&self.folder, self.kind)?;
            self.published.change(|_| store.snapshot(None))?;
            self.graphs.reload();
            self.store = Some(store);
        }
        Ok(())
    }

    fn fail(&mut self, what: &str, error: &Error) {
        tracing::error!(error = error.chain(), "{what}; the partition is opened anew");
        self.store = None;
        self.upkeep.interrupt(error);
    }

    /// Starts what keeping the files small and the graph current asks for.
    fn look_after(&mut self) {
        if let Some(store) = &mut self.store {
            let upkeep = &mut self.upkeep;
            let started = contained(&self.folder.path, || upkeep.start(store, &self.published.current()));
            if let Err(error) = started {
                self.fail("keeping the files small failed", &error);
            }
        }
        self.graphs.keep_up();
    }

    fn finish(&mut self, finished: Finished) {
        let Some(store) = &mut self.store else { return };
        let (upkeep, published) = (&mut self.upkeep, &self.published);
        let shown = contained(&self.folder.path, || {
            if upkeep.finish(finished, store)? {
                published.change(|current| {
                    let next = store.snapshot(Some(current))?;
                    let fits = next.graph.as_ref().is_none_or(|graph| graph.fits(&next.vectors));
                    Ok(if fits { next } else { next.with_graph(None) })
                })?;
            }
            Ok(())
        });
        if let Err(error) = shown {
            self.fail("keeping the files small failed", &error);
        }
    }
}
