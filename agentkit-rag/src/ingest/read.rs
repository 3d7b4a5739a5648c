//! Reading files on a thread of its own, ahead of the target but never far.
//!
//! What has been read and is not yet committed is bounded in files, by the queue, and in bytes, by a budget of room that each
//! file takes a part of and gives back when it is settled. Before the thread waits for room it says so, since what
//! it waits for may be in a batch that is not full.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentkit_core::{Error, Result, RunContext};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::load::Walk;
use crate::source::SourceDocument;

/// Files read ahead.
const AHEAD: usize = 16;
/// Bytes of text that may be on their way, as far as several files are concerned.
const ROOM_BYTES: usize = 64 << 20;
/// The unit of room.
const ROOM_UNIT: usize = 1 << 10;
/// A file written this shortly before it was looked at may be written again within the same tick of the clock.
const TICK: Duration = Duration::from_secs(2);

/// What tells whether a file may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    pub(super) bytes: u64,
    /// When it was last written, in nanoseconds since 1970; 0 if that was too shortly before to rely on.
    pub(super) modified: u64,
}

impl Look {
    /// How the file at `path` looks now.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        let written = about.modified().ok()?;
        let settled = SystemTime::now().duration_since(written).is_ok_and(|age| age > TICK);
        let modified = if settled { written.duration_since(UNIX_EPOCH).ok()?.as_nanos() } else { 0 };
        Some(Self { bytes: about.len(), modified: u64::try_from(modified).ok()? })
    }

    /// Whether a file that looks like `other` need not be read.
    pub(super) fn proves(self, other: Self) -> bool {
        self == other && self.modified != 0
    }
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct ReadFile {
    pub(super) path: PathBuf,
    /// How it looked before it was read: what is written meanwhile is read next time.
    pub(super) look: Option<Look>,
    /// Hash of its bytes; empty if it could not be read.
    pub(super) hash: String,
    pub(super) content: Result<Content>,
    /// The room it takes, until it is settled.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Content {
    Documents(Vec<SourceDocument>),
    /// The very bytes it held when it was last taken in.
    Same,
}

/// What the thread sends.
#[derive(Debug)]
pub(super) enum Item {
    File(Box<ReadFile>),
    /// Nothing more comes until some room is given back.
    Waiting,
}

/// Starts to read the files of `walks`; those whose bytes hash as in `known` are not parsed. Ends by itself when nobody
/// receives.
pub(super) fn start(
    walks: Vec<Walk>,
    known: HashMap<PathBuf, String>,
    ctx: &RunContext,
) -> mpsc::Receiver<Item> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reader =
        Reader { sender, known, room: Arc::new(Semaphore::new(ROOM_BYTES / ROOM_UNIT)), ctx: ctx.child() };
    tokio::task::spawn_blocking(move || {
        for walk in walks {
            if reader.all(walk).is_none() {
                return;
            }
        }
    });
    receiver
}

struct Reader {
    sender: mpsc::Sender<Item>,
    known: HashMap<PathBuf, String>,
    room: Arc<Semaphore>,
    ctx: RunContext,
}

impl Reader {
    /// Reads every file; `None` once nobody wants them.
    fn all(&self, mut walk: Walk) -> Option<()> {
        while let Some(file) = walk.next_file() {
            self.ctx.check().ok()?;
            let mut file = match file {
                Ok(path) => self.file(&walk, path),
                Err((path, error)) => failed(path, None, error),
            };
            self.take_room(&mut file)?;
            self.sender.blocking_send(Item::File(Box::new(file))).ok()?;
        }
        Some(())
    }

    fn file(&self, walk: &Walk, path: PathBuf) -> ReadFile {
        let look = Look::at(&path);
        let bytes = match walk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return failed(path, look, error),
        };
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let content = if self.known.get(&path) == Some(&hash) {
            Ok(Content::Same)
        } else {
            walk.parse(&path, &bytes).map(Content::Documents)
        };
        ReadFile { path, look, hash, content, room: None }
    }

    /// Gives `file` the room that it takes, as soon as there is some; `None` once nobody wants it.
    fn take_room(&self, file: &mut ReadFile) -> Option<()> {
        let Ok(Content::Documents(documents)) = &file.content else { return Some(()) };
        let bytes: usize = documents.iter().map(|document| document.source_text.len()).sum();
        let units = u32::try_from(bytes.min(ROOM_BYTES).div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
        file.room = self.room.clone().try_acquire_many_owned(units).ok();
        if file.room.is_none() {
            self.sender.blocking_send(Item::Waiting).ok()?;
            file.room = Some(Handle::current().block_on(self.room.clone().acquire_many_owned(units)).ok()?);
        }
        Some(())
    }
}

fn failed(path: PathBuf, look: Option<Look>, error: Error) -> ReadFile {
    ReadFile { path, look, hash: String::new(), content: Err(error), room: None }
}
