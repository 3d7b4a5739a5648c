//! One tenant's collection: its current snapshot and, if this process writes, its writer.

use std::sync::Arc;

use agentkit_core::{Error, ErrorKind, Result};

use super::changes::PartitionChanges;
use super::snapshot::Snapshot;
use super::storage::Folder;
use super::store::{self, Kind};
use super::writer::{Change, Outcome, Published, Writer, load_graph};

/// An open partition.
#[derive(Debug)]
pub(super) struct Partition {
    published: Arc<Published>,
    writer: Option<Writer>,
}

impl Partition {
    /// Opens the partition with its writer, which notes what it changes, creating it if needed. Blocks.
    pub(super) fn open(folder: &Folder, kind: Kind, changes: PartitionChanges) -> Result<Self> {
        let (writer, published) = Writer::start(folder, kind, changes)?;
        Ok(Self { published, writer: Some(writer) })
    }

    /// Opens the last commit of a partition for reading. Blocks.
    pub(super) fn open_read_only(folder: &Folder, dimension: usize) -> Result<Self> {
        let snapshot = store::read(folder, dimension)?;
        let snapshot = match load_graph(folder, &snapshot) {
            Ok(graph) => snapshot.with_graph(Some(Arc::new(graph))),
            Err(_) => snapshot,
        };
        Ok(Self { published: Arc::new(Published::new(snapshot)), writer: None })
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.published.current()
    }

    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<Outcome> {
        self.writer()?.write(changes).await
    }

    /// Removes everything deleted from the files.
    pub(super) async fn compact(&self) -> Result<()> {
        self.writer()?.compact().await
    }

    fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or_else(read_only)
    }
}

pub(super) fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "the index was opened read-only; open it for writing to change it")
}
