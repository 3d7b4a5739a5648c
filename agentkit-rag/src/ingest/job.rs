//! The job: files through reading, cutting, embedding and committing, with a report that is right at every moment.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{DocumentId, Error, ErrorKind, Result, RunContext, TenantScope};
use futures_util::StreamExt;

use super::batch::{Committed, Origin, Part, Stored, batches};
use super::journal::Seen;
use super::mirror::{Changes, Mirror};
use super::read;
use super::report::{FileEnd, IngestEvent, IngestReport, SkippedFile};
use super::target::IngestTarget;
use crate::load::{LoadOptions, Walk, walk};

/// Batches on their way through the target: one is cut, one embedded, one committed.
const IN_FLIGHT: usize = 3;
/// Files that are gone whose documents are deleted in one commit.
const DELETED_AT_ONCE: usize = 256;

/// Hears what happens; see [`IngestJob::observer`].
type Observer = Box<dyn FnMut(&IngestEvent<'_>) + Send>;

/// An ingest of files and folders into a collection.
///
/// Files are read on a thread of their own, a bounded number and amount ahead, and gathered into batches, each of which is a commit.
/// A few batches are on their way at once, so that one is cut while another is embedded and a third is committed; when the
/// target is slow, everything before it waits. A file that cannot be read, and a document that the target refuses, are
/// left out and named in the [report](Self::report); the rest goes in.
///
/// Stopping the [`RunContext`] stops the job. What is committed stays, and an ingest that is done again, after a stop or
/// after the process was killed, does not embed it again.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use std::sync::Arc;
///
/// use agentkit_core::testing::HashingEmbedder;
/// use agentkit_core::{RunContext, TenantScope};
/// use agentkit_rag::Index;
/// use agentkit_rag::ingest::{IngestJob, Mirror};
///
/// let folder = tempfile::tempdir()?;
/// let notes = folder.path().join("notes");
/// std::fs::create_dir(&notes)?;
/// std::fs::write(notes.join("tea.md"), "# Tea\n\nGreen tea is best at 80 degrees.")?;
/// let index = Index::open(folder.path().join("index"), Arc::new(HashingEmbedder::default())).await?;
///
/// let mut job = IngestJob::new(Arc::new(index), TenantScope::local());
/// let mut mirror = Mirror::new(&notes, folder.path().join("notes.journal"));
/// job.sync(&mut mirror, &RunContext::new()).await?;
/// assert_eq!(job.report().documents, 1);
/// # Ok(()) })
/// # }
/// ```
pub struct IngestJob {
    target: Arc<dyn IngestTarget>,
    scope: TenantScope,
    load: LoadOptions,
    report: IngestReport,
    observer: Option<Observer>,
    done: u64,
    total: u64,
}

impl IngestJob {
    /// A job that writes to `target`, in the collection of `scope`.
    #[must_use]
    pub fn new(target: Arc<dyn IngestTarget>, scope: TenantScope) -> Self {
        let (load, report) = (LoadOptions::default(), IngestReport::default());
        Self { target, scope, load, report, observer: None, done: 0, total: 0 }
    }

    /// How files are found and loaded.
    #[must_use]
    pub fn load_options(mut self, options: LoadOptions) -> Self {
        self.load = options;
        self
    }

    /// Is told what happens, on the job's own task; it must not block.
    #[must_use]
    pub fn observer(mut self, observer: impl FnMut(&IngestEvent<'_>) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// What the job has done so far; also after it has failed or was stopped.
    #[must_use]
    pub fn report(&self) -> &IngestReport {
        &self.report
    }

    /// Takes in the files and folders at `paths`.
    ///
    /// # Cancel safety
    /// If dropped, what is committed stays; of the batches on their way, each is written as a whole or not at all.
    ///
    /// # Errors
    /// Not found or unavailable if a path cannot be looked at, stopped, or as the target fails. Files that cannot be
    /// read are no error.
    pub async fn run(&mut self, paths: &[PathBuf], ctx: &RunContext) -> Result<()> {
        let (paths, options) = (paths.to_owned(), self.load.clone());
        let found = ctx.run_blocking(move |ctx| {
            let found = paths.iter().map(|path| ctx.check().and_then(|()| walk(path, &options)));
            found.collect::<Result<Vec<_>>>()
        });
        let walks = found.await?;
        self.begin(&walks, &Changes::default());
        self.drive(walks, HashMap::new(), None, ctx).await
    }

    /// Makes the collection hold what the folder of `mirror` holds: takes in files that are new or have changed, and deletes
    /// the documents of files that are gone.
    ///
    /// A file of the same size and time as when it was last taken in is not read; one that is read and holds the same
    /// bytes is not loaded. A file that can no longer be read keeps the documents it had.
    ///
    /// # Cancel safety
    /// If dropped, what is committed stays, and the next sync goes on from there.
    ///
    /// # Errors
    /// Invalid input if the folder is empty and was not; conflict if it is being synced by another process; corrupt or mismatch
    /// if the mirror's file is damaged or about something else; and as [`run`](Self::run).
    pub async fn sync(&mut self, mirror: &mut Mirror, ctx: &RunContext) -> Result<()> {
        self.pass(mirror, true, ctx).await
    }

    /// One sync; `all` says whether failures are told again of files that have not changed since.
    async fn pass(&mut self, mirror: &mut Mirror, all: bool, ctx: &RunContext) -> Result<()> {
        mirror.open(&self.scope, &self.load.id_prefix, ctx).await?;
        mirror.verify(&*self.target, &self.scope, ctx).await?;
        let (files, changes) = mirror.look(&self.load, ctx).await?;
        if all || files.len() > 0 || !changes.gone.is_empty() {
            self.begin(std::slice::from_ref(&files), &changes);
        }
        if all {
            self.report.untouched += changes.untouched;
            for (path, error) in changes.failures {
                self.skip(&path, error);
            }
        }
        self.delete_gone(mirror, changes.gone, ctx).await?;
        self.drive(vec![files], changes.known, Some(mirror), ctx).await
    }

    /// Syncs, and again whenever the folder has changed, until `ctx` is stopped.
    ///
    /// The folder is looked at every `interval`, and no more often than a tenth of the time allows that a look takes. Looking works on
    /// every file system, also where changes are not announced. Where a pass fails because something is unavailable,
    /// it is tried again.
    ///
    /// # Cancel safety
    /// As [`sync`](Self::sync).
    ///
    /// # Errors
    /// Stopped, in the end; and as [`sync`](Self::sync) but for what may pass.
    pub async fn watch(&mut self, mirror: &mut Mirror, interval: Duration, ctx: &RunContext) -> Result<()> {
        let mut first = true;
        loop {
            let started = tokio::time::Instant::now();
            let passed = self.pass(mirror, first, ctx).await;
            keep_latest(&mut self.report.skipped);
            match passed {
                Ok(()) => first = false,
                Err(error) if may_pass(&error) => self.tell(&IngestEvent::Retrying { error: &error }),
                Err(error) => return Err(error),
            }
            ctx.sleep(interval.max(started.elapsed() * 10)).await?;
        }
    }

    async fn delete_gone(
        &mut self,
        mirror: &mut Mirror,
        gone: Vec<(String, Vec<DocumentId>)>,
        ctx: &RunContext,
    ) -> Result<()> {
        for some in gone.chunks(DELETED_AT_ONCE) {
            let documents: Vec<DocumentId> =
                some.iter().flat_map(|(_, documents)| documents).cloned().collect();
            self.delete(&documents, ctx).await?;
            for (file, _) in some {
                mirror.journal()?.forget(file)?;
                let path = mirror.folder().join(file);
                self.tell(&IngestEvent::File { path: &path, end: FileEnd::Gone });
            }
        }
        Ok(())
    }

    async fn delete(&mut self, documents: &[DocumentId], ctx: &RunContext) -> Result<()> {
        if !documents.is_empty() {
            self.report.deleted += ctx.run(self.target.delete(&self.scope, documents, ctx)).await?;
        }
        Ok(())
    }

    /// Brings the files into the target.
    async fn drive(
        &mut self,
        walks: Vec<Walk>,
        known: HashMap<PathBuf, String>,
        mut mirror: Option<&mut Mirror>,
        ctx: &RunContext,
    ) -> Result<()> {
        let (target, scope) = (self.target.clone(), self.scope.clone());
        let root = walks.first().map(|walk| walk.root().to_owned()).unwrap_or_default();
        let items = read::start(walks, known, ctx);
        let commits = batches(items).map(|batch| batch.commit(&*target, &scope, ctx)).buffered(IN_FLIGHT);
        let mut commits = Box::pin(commits);
        let mut file = Unsettled::default();
        while let Some(committed) = ctx.run(async { commits.next().await.transpose() }).await? {
            let Committed { parts, upserted } = committed;
            self.report.add(&upserted);
            for part in parts {
                let (origin, last) = (part.origin.clone(), part.last);
                self.settle(part, &mut file);
                if last {
                    let file = std::mem::take(&mut file);
                    self.close(&origin, file, mirror.as_deref_mut().map(|mirror| (mirror, &*root)), ctx)
                        .await?;
                }
            }
            self.tell(&IngestEvent::Progress { done: self.done, total: self.total });
        }
        Ok(())
    }

    /// Counts a part of a file.
    fn settle(&mut self, part: Part, file: &mut Unsettled) {
        let whole = part.origin.documents.unwrap_or(1).max(1);
        if part.first {
            self.total = (self.total + whole).saturating_sub(1);
        }
        let documents = (part.stored.len() + part.errors.len()) as u64;
        self.done += documents.max(u64::from(part.last && whole == 1));
        for error in &part.errors {
            self.skip(&part.origin.path, error.chain());
            file.failed.get_or_insert_with(|| error.chain());
        }
        file.stored.extend(part.stored);
    }

    /// Ends a file: what it held before and no longer does is deleted, and the mirror notes it.
    async fn close(
        &mut self,
        origin: &Origin,
        file: Unsettled,
        mirror: Option<(&mut Mirror, &Path)>,
        ctx: &RunContext,
    ) -> Result<()> {
        let mut end = match (origin.documents, file.stored.len() as u64) {
            (None, _) => FileEnd::Same,
            (_, 0) => FileEnd::Skipped,
            (_, documents) => FileEnd::Stored { documents },
        };
        if let Some((mirror, root)) = mirror
            && let Some(name) = origin.path.strip_prefix(root).unwrap_or(&origin.path).to_str()
        {
            let seen = self.remember(origin, file, mirror.journal()?.files.get(name), ctx).await?;
            if let (FileEnd::Same, Some(failed)) = (end, seen.failed.clone()) {
                self.skip(&origin.path, failed);
                end = FileEnd::Skipped;
            }
            mirror.journal()?.note(name, seen)?;
        }
        self.tell(&IngestEvent::File { path: &origin.path, end });
        Ok(())
    }

    /// What to note of a file, after the documents are deleted that it held `before` and no longer does.
    async fn remember(
        &mut self,
        origin: &Origin,
        file: Unsettled,
        before: Option<&Seen>,
        ctx: &RunContext,
    ) -> Result<Seen> {
        let before_documents = || before.map(|before| before.documents.clone()).unwrap_or_default();
        // A look that could not be taken proves nothing.
        let look = origin.look.unwrap_or(read::Look { bytes: 0, modified: 0 });
        let hash = origin.hash.clone();
        if origin.documents.is_none() {
            self.report.unchanged += before_documents().len() as u64;
            let failed = before.and_then(|before| before.failed.clone());
            return Ok(Seen { look, hash, documents: before_documents(), failed });
        }
        let Unsettled { stored, failed } = file;
        if stored.is_empty() {
            return Ok(Seen { look, hash, documents: before_documents(), failed });
        }
        let documents: Vec<(DocumentId, String)> =
            stored.into_iter().map(|Stored { id, source_hash }| (id, source_hash)).collect();
        let present: HashSet<&DocumentId> = documents.iter().map(|(id, _)| id).collect();
        let gone: Vec<DocumentId> =
            before_documents().into_iter().map(|(id, _)| id).filter(|id| !present.contains(id)).collect();
        self.delete(&gone, ctx).await?;
        Ok(Seen { look, hash, documents, failed })
    }

    fn begin(&mut self, walks: &[Walk], changes: &Changes) {
        let files: u64 = walks.iter().map(|walk| walk.len() as u64).sum();
        (self.done, self.total) = (0, files);
        let gone = changes.gone.len() as u64;
        self.tell(&IngestEvent::Found { files, untouched: changes.untouched, gone });
    }

    fn skip(&mut self, path: &Path, error: String) {
        let skipped = SkippedFile { path: path.to_owned(), error };
        self.tell(&IngestEvent::Skipped(&skipped));
        self.report.skipped.push(skipped);
    }

    fn tell(&mut self, event: &IngestEvent<'_>) {
        if let Some(observer) = &mut self.observer {
            observer(event);
        }
    }
}

/// What is known of a file whose parts have not all come through.
#[derive(Debug, Default)]
struct Unsettled {
    stored: Vec<Stored>,
    failed: Option<String>,
}

/// Keeps the newest failure of each file, so that a folder that is watched for months does not fill the memory.
fn keep_latest(skipped: &mut Vec<SkippedFile>) {
    let mut seen = HashSet::new();
    let mut newest: Vec<bool> = skipped.iter().rev().map(|file| seen.insert(file.path.clone())).collect();
    skipped.retain(|_| newest.pop().unwrap_or(true));
}

/// Whether what failed may work later.
fn may_pass(error: &Error) -> bool {
    error.is_retryable() || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound)
}

impl fmt::Debug for IngestJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestJob")
            .field("scope", &self.scope)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_failure_of_each_file_is_kept_in_order() {
        let failure = |path: &str, error: &str| SkippedFile { path: path.into(), error: error.into() };
        let mut skipped = vec![failure("a", "1"), failure("b", "1"), failure("a", "2"), failure("c", "1")];
        keep_latest(&mut skipped);
        let kept: Vec<_> =
            skipped.iter().map(|file| (file.path.to_str().unwrap(), file.error.as_str())).collect();
        assert_eq!(kept, [("b", "1"), ("a", "2"), ("c", "1")]);
    }
}
