//! Keeping the files small: merging segments, rewriting vector logs, removing what nobody needs.
//!
//! The work is done beside the writer, one job at a time; the writer starts it and, when it has ended, makes the
//! result count by a commit. A kill at any moment leaves files that no commit names, which are removed later.
//!
//! Always true: a dead slot never becomes live again (see [`super::apply::is_current`]), so what a rewrite leaves
//! out is not needed when it counts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{Error, Result, RunContext};
use tantivy::TantivyError;
use tantivy::index::SegmentId;
use tokio::sync::{mpsc, oneshot};

use super::Command;
use crate::index::snapshot::{Snapshot, text_index_failed};
use crate::index::storage::Folder;
use crate::index::store::Store;
use crate::index::vectors::log::{LogExtent, Rewrite};

/// How long a search may hold old files before a compaction gives up waiting for it.
const PATIENCE: u32 = 1500;
/// Pause between two looks at files that a search still holds.
const PAUSE: Duration = Duration::from_millis(20);

/// A job's result, on its way back to the writer.
pub(super) struct Finished {
    /// Counts the openings of the files; a job of an earlier one no longer matters.
    opening: u64,
    work: Work,
}

enum Work {
    /// Whether the merge counts; it does not if a commit has meanwhile removed one of its segments.
    Merged(Result<bool>),
    /// As `Merged`, for a request.
    Purged(Result<bool>),
    Rewritten(Rewrite, Result<Option<LogExtent>>),
    Waited,
}

/// A wish to be rid of everything deleted, and how far it has come.
struct Request {
    step: Step,
    waited: u32,
    done: oneshot::Sender<Result<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Segments,
    Vectors,
    Files,
}

/// Starts and ends the jobs of one partition.
pub(super) struct Upkeep {
    folder: Folder,
    commands: mpsc::WeakSender<Command>,
    background: RunContext,
    job: Option<std::thread::JoinHandle<()>>,
    opening: u64,
    requests: VecDeque<Request>,
}

impl Upkeep {
    pub(super) fn new(folder: &Folder, commands: mpsc::WeakSender<Command>, background: RunContext) -> Self {
        Self {
            folder: folder.clone(),
            commands,
            background,
            job: None,
            opening: 0,
            requests: VecDeque::new(),
        }
    }

    /// Has everything deleted removed from the files; `done` is told when it is.
    pub(super) fn request(&mut self, done: oneshot::Sender<Result<()>>) {
        self.requests.push_back(Request { step: Step::Segments, waited: 0, done });
    }

    /// Forgets the jobs of files that are being given up.
    pub(super) fn interrupt(&mut self, error: &Error) {
        self.opening += 1;
        self.job = None;
        for request in self.requests.drain(..) {
            let _ = request.done.send(Err(Error::new(error.kind(), format!("compact: {}", error.chain()))));
        }
    }

    /// Waits for the job under way, which sees that the index is being closed.
    pub(super) fn stop(&mut self) {
        if let Some(job) = self.job.take()
            && job.join().is_err()
        {
            tracing::error!("a maintenance thread panicked");
        }
    }

    /// Starts the next job, if there is something to do and none is under way.
    pub(super) fn start(&mut self, store: &mut Store, snapshot: &Arc<Snapshot>) -> Result<()> {
        while self.job.is_none() {
            let Some(request) = self.requests.front_mut() else {
                return self.start_ordinary(store, snapshot);
            };
            match request.step {
                Step::Segments => match store.with_deleted()? {
                    Some(segments) => self.start_merge(store, &segments, Work::Purged)?,
                    None => request.step = Step::Vectors,
                },
                Step::Vectors => match store.rewritable(snapshot, true)? {
                    Some(rewrite) => self.start_rewrite(rewrite, snapshot)?,
                    None => request.step = Step::Files,
                },
                Step::Files => self.collect(store)?,
            }
        }
        Ok(())
    }

    fn start_ordinary(&mut self, store: &mut Store, snapshot: &Arc<Snapshot>) -> Result<()> {
        if let Some(segments) = store.mergeable()? {
            self.start_merge(store, &segments, Work::Merged)
        } else if let Some(rewrite) = store.rewritable(snapshot, false)? {
            self.start_rewrite(rewrite, snapshot)
        } else {
            Ok(())
        }
    }

    fn start_merge(
        &mut self,
        store: &mut Store,
        segments: &[SegmentId],
        work: fn(Result<bool>) -> Work,
    ) -> Result<()> {
        let merging = store.merge(segments);
        self.spawn(move |_| {
            work(match merging.wait() {
                Ok(_) => Ok(true),
                Err(TantivyError::InvalidArgument(_)) => Ok(false),
                Err(error) => Err(text_index_failed(error)),
            })
        })
    }

    fn start_rewrite(&mut self, rewrite: Rewrite, snapshot: &Arc<Snapshot>) -> Result<()> {
        let (folder, snapshot) = (self.folder.clone(), snapshot.clone());
        self.spawn(move |ctx| {
            let written = rewrite.write(&folder, &snapshot.vectors, ctx);
            Work::Rewritten(rewrite, written)
        })
    }

    /// Removes files; those that a search still holds are looked at again a little later.
    fn collect(&mut self, store: &Store) -> Result<()> {
        let clean = store.collect_garbage()?;
        let Some(request) = self.requests.front_mut() else { return Ok(()) };
        request.waited += 1;
        if !clean && request.waited < PATIENCE {
            return self.spawn(|_| {
                pause();
                Work::Waited
            });
        }
        if let Some(request) = self.requests.pop_front() {
            let result = if clean { Ok(()) } else { Err(still_read()) };
            let _ = request.done.send(result);
        }
        Ok(())
    }

    /// Makes a job's result count; says whether there is a new state to show.
    pub(super) fn finish(&mut self, finished: Finished, store: &mut Store) -> Result<bool> {
        if finished.opening != self.opening {
            return Ok(false);
        }
        self.job = None;
        match finished.work {
            Work::Merged(merged) => merged,
            Work::Purged(merged) => {
                let merged = merged?;
                if let Some(request) = self.requests.front_mut() {
                    request.waited += 1;
                    if merged || request.waited > PATIENCE {
                        request.step = Step::Vectors;
                    }
                }
                Ok(merged)
            }
            Work::Rewritten(rewrite, written) => {
                store.swap_logs(&rewrite, written?)?;
                Ok(true)
            }
            Work::Waited => Ok(false),
        }
    }

    fn spawn(&mut self, work: impl FnOnce(&RunContext) -> Work + Send + 'static) -> Result<()> {
        let (commands, opening, ctx) = (self.commands.clone(), self.opening, self.background.clone());
        let run = move || {
            let work = work(&ctx);
            if let Some(commands) = commands.upgrade() {
                // Nobody listens any more if the index has been closed.
                let _ = commands.blocking_send(Command::Finished(Finished { opening, work }));
            }
        };
        let thread = std::thread::Builder::new().name("agentkit-upkeep".into()).spawn(run);
        self.job = Some(thread.map_err(|error| Error::io("start a maintenance thread", error))?);
        Ok(())
    }
}

fn pause() {
    let (_open, never) = std::sync::mpsc::channel::<()>();
    // Nothing is ever sent, so this always times out.
    let _ = never.recv_timeout(PAUSE);
}

fn still_read() -> Error {
    Error::new(
        agentkit_core::ErrorKind::Unavailable,
        "a search still reads files that hold deleted text; compact again when it has ended",
    )
}
