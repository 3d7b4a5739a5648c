//! The one writer of a partition: a thread that takes writes from a bounded queue and commits them in groups.
//!
//! Writers that wait at the same time share one commit, and each is told only when its write is durable and
//! visible. After a failed commit the files are opened anew at the last commit, since Tantivy may by then hold
//! segments in memory that no commit names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use agentkit_core::{DocumentId, Error, Result, RunContext};
use tokio::sync::{mpsc, oneshot};

use super::graph::Graph;
use super::schema::{ChunkRecord, DocumentRecord};
use super::snapshot::Snapshot;
use super::store::Store;

/// Writes that may wait in the queue; more writers wait outside.
const QUEUE: usize = 64;
/// Most writes that share a commit.
const GROUP: usize = 256;
/// From this many chunks on a graph is kept.
const GRAPH_FROM: usize = 20_000;

/// One change of the partition.
#[derive(Debug)]
pub(super) enum Change {
    /// Replaces the document and its chunks.
    Put(Box<DocumentRecord>, Vec<(ChunkRecord, Vector)>),
    /// Removes the document and its chunks.
    Delete(DocumentId),
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

struct Command {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<Written>>,
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
    pub(super) fn start(folder: &Path, dimension: usize) -> Result<(Self, Arc<Published>)> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(format!("create partition {}", folder.display()), error))?;
        let store = Store::open(folder, dimension)?;
        let published = Arc::new(Published::new(store.snapshot(None)?));
        let (commands, queue) = mpsc::channel(QUEUE);
        let background = RunContext::new();
        let graphs = Graphs::new(folder, published.clone(), background.clone());
        let mut worker =
            Worker { store: Some(store), folder: folder.to_owned(), dimension, published, graphs };
        let published = worker.published.clone();
        let thread = std::thread::Builder::new()
            .name("agentkit-writer".into())
            .spawn(move || worker.work(queue))
            .map_err(|error| Error::io("start the writer thread", error))?;
        Ok((Self { commands: Some(commands), thread: Some(thread), background }, published))
    }

    /// Carries out `changes` in one commit and waits until they are durable.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<Written> {
        let closed = || Error::new(agentkit_core::ErrorKind::Unavailable, "the index is closed");
        let (done, outcome) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or_else(closed)?;
        commands.send(Command { changes, done }).await.map_err(|_| closed())?;
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
    folder: PathBuf,
    dimension: usize,
    published: Arc<Published>,
    graphs: Graphs,
}

impl Worker {
    fn work(&mut self, mut queue: mpsc::Receiver<Command>) {
        self.graphs.keep_up();
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            self.commit(group);
            if queue.is_empty() {
                self.tidy();
            }
            self.graphs.keep_up();
        }
        self.graphs.stop();
    }

    fn commit(&mut self, group: Vec<Command>) {
        let (changes, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().map(|command| (command.changes, command.done)).unzip();
        match self.try_commit(changes) {
            Ok(written) => {
                for (done, written) in waiting.into_iter().zip(written) {
                    // A writer that no longer waits has its write all the same.
                    let _ = done.send(Ok(written));
                }
            }
            Err(error) => {
                tracing::error!(error = error.chain(), "a commit failed; the partition is opened anew");
                self.store = None;
                for done in waiting {
                    let _ = done.send(Err(Error::new(error.kind(), format!("commit: {}", error.chain()))));
                }
            }
        }
    }

    fn try_commit(&mut self, group: Vec<Vec<Change>>) -> Result<Vec<Written>> {
        let store = match &mut self.store {
            Some(store) => store,
            empty => empty.insert(Store::open(&self.folder, self.dimension)?),
        };
        let snapshot = self.published.current();
        let mut applied = Applied { existing: HashSet::new(), removed: HashSet::new() };
        let mut existed = Vec::with_capacity(group.len());
        for changes in group {
            existed.push(applied.apply(store, &snapshot, changes)?);
        }
        store.commit()?;
        let mut generation = 0;
        self.published.change(|current| {
            let next = store.snapshot(Some(current))?;
            generation = next.generation;
            Ok(next)
        })?;
        Ok(existed.into_iter().map(|existed| Written { generation, existed }).collect())
    }

    /// Merges segments while nobody waits.
    fn tidy(&mut self) {
        let Some(store) = &mut self.store else { return };
        let merged = store.merge_once().and_then(|merged| {
            if merged {
                self.published.change(|current| store.snapshot(Some(current)))?;
            }
            Ok(())
        });
        if let Err(error) = merged {
            tracing::warn!(error = error.chain(), "merging segments failed");
            self.store = None;
        }
    }
}

/// Which documents exist in the middle of a group, beyond what the snapshot says.
struct Applied {
    existing: HashSet<DocumentId>,
    removed: HashSet<DocumentId>,
}

impl Applied {
    /// Applies changes in order and counts the documents that existed.
    fn apply(&mut self, store: &mut Store, snapshot: &Snapshot, changes: Vec<Change>) -> Result<u64> {
        let mut existed = 0;
        for change in changes {
            let (id, put) = match change {
                Change::Delete(id) => (id, None),
                Change::Put(record, chunks) => (record.id.clone(), Some((record, chunks))),
            };
            existed += u64::from(self.exists(snapshot, &id)?);
            for term in store.fields().records_of(&id) {
                store.delete(term);
            }
            if let Some((record, chunks)) = put {
                add(store, &record, chunks)?;
                self.removed.remove(&id);
                self.existing.insert(id);
            } else {
                self.existing.remove(&id);
                self.removed.insert(id);
            }
        }
        Ok(existed)
    }

    fn exists(&self, snapshot: &Snapshot, id: &DocumentId) -> Result<bool> {
        if self.existing.contains(id) {
            return Ok(true);
        }
        Ok(!self.removed.contains(id) && snapshot.document(id)?.is_some())
    }
}

/// Appends the new vectors and adds the records.
fn add(store: &mut Store, record: &DocumentRecord, chunks: Vec<(ChunkRecord, Vector)>) -> Result<()> {
    let mut new = Vec::new();
    let placed: Vec<(ChunkRecord, Option<u32>)> = chunks
        .into_iter()
        .map(|(chunk, vector)| match vector {
            Vector::Kept(slot) => (chunk, Some(slot)),
            Vector::New(vector) => {
                new.push(vector);
                (chunk, None)
            }
        })
        .collect();
    let mut next = store.append(&new)?;
    for (chunk, slot) in placed {
        let slot = slot.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        store.add(chunk.to_tantivy(store.fields(), slot)?)?;
    }
    store.add(record.to_tantivy(store.fields())?)
}

/// Keeps a graph over most of the vectors, built in the background.
struct Graphs {
    path: PathBuf,
    published: Arc<Published>,
    background: RunContext,
    building: Option<std::thread::JoinHandle<()>>,
    loaded: bool,
}

impl Graphs {
    fn new(folder: &Path, published: Arc<Published>, background: RunContext) -> Self {
        Self { path: folder.join("graph"), published, background, building: None, loaded: false }
    }

    /// Loads the graph once, and starts building a new one when too many vectors are not in it.
    fn keep_up(&mut self) {
        if self.building.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let snapshot = self.published.current();
        if !std::mem::replace(&mut self.loaded, true) {
            self.load(&snapshot);
        }
        let covered = self.published.current().graph.as_ref().map_or(0, |graph| graph.slots() as usize);
        let vectors = snapshot.vectors.len();
        if vectors >= GRAPH_FROM && covered < vectors - vectors / 4 {
            self.build(snapshot);
        }
    }

    fn load(&self, snapshot: &Snapshot) {
        match load_graph(&self.path, snapshot) {
            Ok(graph) => publish(&self.published, Arc::new(graph)),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(error = error.chain(), "the graph is rebuilt, searches stay exact until then");
            }
        }
    }

    fn build(&mut self, snapshot: Arc<Snapshot>) {
        let (path, published, ctx) = (self.path.clone(), self.published.clone(), self.background.clone());
        let thread = std::thread::Builder::new().name("agentkit-graph".into()).spawn(move || {
            match Graph::build(&snapshot.vectors, &ctx).and_then(|graph| graph.save(&path).map(|()| graph)) {
                Ok(graph) => publish(&published, Arc::new(graph)),
                Err(error) if error.is_stopped() => {}
                Err(error) => {
                    tracing::warn!(error = error.chain(), "building the graph failed, searches stay exact");
                }
            }
        });
        self.building = thread.ok();
    }

    fn stop(&mut self) {
        self.background.cancel();
        if let Some(thread) = self.building.take()
            && thread.join().is_err()
        {
            tracing::error!("the graph builder panicked");
        }
    }
}

/// Loads a partition's graph, if it fits the vectors of the snapshot.
pub(super) fn load_graph(path: &Path, snapshot: &Snapshot) -> Result<Graph> {
    let graph = Graph::load(path)?;
    if graph.slots() as usize > snapshot.vectors.len() || !graph.fits(&snapshot.vectors) {
        return Err(Error::corrupt(format!("graph {} covers vectors that do not exist", path.display())));
    }
    Ok(graph)
}

fn publish(published: &Published, graph: Arc<Graph>) {
    if let Err(error) = published.change(|current| Ok(current.with_graph(graph))) {
        tracing::warn!(error = error.chain(), "publishing the graph failed");
    }
}
