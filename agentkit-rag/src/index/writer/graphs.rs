//! The graph of a partition, kept up with its vectors by a thread of its own.

use std::sync::Arc;

use agentkit_core::{Error, Result, RunContext};
use tokio::sync::mpsc;

use super::{Command, Published};
use crate::index::dense;
use crate::index::graph::Graph;
use crate::index::snapshot::Snapshot;
use crate::index::storage::Folder;

/// From this many chunks on a graph is kept.
const GRAPH_FROM: u64 = 20_000;
/// The graph's file in the folder of its partition.
pub(in crate::index) const FILE: &str = "graph";

/// Keeps a graph over most of the vectors, built in the background.
pub(super) struct Graphs {
    folder: Folder,
    published: Arc<Published>,
    commands: mpsc::WeakSender<Command>,
    background: RunContext,
    building: Option<std::thread::JoinHandle<()>>,
    loaded: bool,
}

impl Graphs {
    pub(super) fn new(
        folder: &Folder,
        published: Arc<Published>,
        commands: mpsc::WeakSender<Command>,
        background: RunContext,
    ) -> Self {
        Self { folder: folder.clone(), published, commands, background, building: None, loaded: false }
    }

    /// Loads the graph once, and starts building a new one when too many vectors are not in it.
    pub(super) fn keep_up(&mut self) {
        if self.building.is_some() {
            return;
        }
        let snapshot = self.published.current();
        if !std::mem::replace(&mut self.loaded, true) {
            self.load(&snapshot);
        }
        let covered = self.published.current().graph.as_ref().map_or(0, |graph| graph.slots() as usize);
        let vectors = snapshot.vectors.len();
        if snapshot.chunks() >= GRAPH_FROM && covered < vectors - vectors / 4 {
            self.build(snapshot);
        }
    }

    /// Has the graph loaded anew, since the snapshot was.
    pub(super) fn reload(&mut self) {
        self.loaded = false;
    }

    fn load(&self, snapshot: &Snapshot) {
        match load(&self.folder, snapshot) {
            Ok(graph) => publish(&self.published, Arc::new(graph)),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(error = error.chain(), "the graph is rebuilt, searches stay exact until then");
            }
        }
    }

    /// Takes note that a build has ended, so that the next one can begin.
    pub(super) fn built(&mut self) {
        if let Some(thread) = self.building.take()
            && thread.join().is_err()
        {
            tracing::error!("the graph builder panicked");
        }
    }

    fn build(&mut self, snapshot: Arc<Snapshot>) {
        let (folder, published, ctx) = (self.folder.clone(), self.published.clone(), self.background.clone());
        let commands = self.commands.clone();
        let thread = std::thread::Builder::new().name("agentkit-graph".into()).spawn(move || {
            let built = Graph::build(&snapshot.vectors, &ctx)
                .and_then(|graph| dense::calibrated(graph, &snapshot.vectors, &ctx))
                .and_then(|graph| save(&folder, &graph).map(|()| graph));
            match built {
                Ok(graph) => publish(&published, Arc::new(graph)),
                Err(error) if error.is_stopped() => {}
                Err(error) => {
                    tracing::warn!(error = error.chain(), "building the graph failed, searches stay exact");
                }
            }
            // What was written meanwhile may ask for the next graph, and perhaps nobody writes any more.
            if let Some(commands) = commands.upgrade() {
                let _ = commands.blocking_send(Command::GraphBuilt);
            }
        });
        self.building = thread.ok();
    }

    pub(super) fn stop(&mut self) {
        self.background.cancel();
        self.built();
    }
}

/// Loads a partition's graph, if it fits the vectors of the snapshot.
pub(in crate::index) fn load(folder: &Folder, snapshot: &Snapshot) -> Result<Graph> {
    let path = folder.at(FILE);
    let graph = Graph::load(&*folder.storage, &path)?;
    if graph.slots() as usize > snapshot.vectors.len() || !graph.fits(&snapshot.vectors) {
        return Err(Error::corrupt(format!("graph {} covers vectors that do not exist", path.display())));
    }
    Ok(graph)
}

fn save(folder: &Folder, graph: &Graph) -> Result<()> {
    graph.save(&*folder.storage, &folder.at(FILE))
}

/// Shows the graph, unless vectors it needs have gone meanwhile; then the next one is built without them.
fn publish(published: &Published, graph: Arc<Graph>) {
    let shown = published.change(|current| {
        if graph.fits(&current.vectors) {
            return Ok(current.with_graph(Some(graph)));
        }
        Err(Error::corrupt("the graph covers vectors that a compaction has removed"))
    });
    if let Err(error) = shown {
        tracing::warn!(error = error.chain(), "the graph is not used");
    }
}
