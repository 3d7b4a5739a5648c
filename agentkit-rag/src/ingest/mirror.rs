//! A folder that is mirrored: what it held last time, and what of it is new, changed or gone.
//!
//! The mirror is a memory beside the target, so it could be wrong about it: the index may have been deleted, or somebody may have
//! changed a document. Therefore the target is asked which documents it has, and a file whose documents are not
//! just there counts as never seen. The other way round, a document is deleted only if it is still the one that came from the
//! file that is gone.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkit_core::{DocumentId, Error, Result, RunContext, TenantScope};

use super::journal::{Files, Journal, Seen};
use super::read::Look;
use super::target::IngestTarget;
use crate::load::{LoadOptions, Walk, walk};

/// Documents asked for at a time.
const PAGE: usize = 1000;

/// The memory of a mirrored folder, kept in a file; see [`IngestJob::sync`](super::IngestJob::sync).
///
/// Without the file, or with it gone, every file of the folder is read again and nothing is deleted.
#[derive(Debug)]
pub struct Mirror {
    folder: PathBuf,
    state: PathBuf,
    journal: Option<Journal>,
    /// Whether the target has been asked what it holds since the file was opened.
    verified: bool,
    may_empty: bool,
}

/// What is to be done to bring the target up to date.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Hashes of files that are to be read, as far as they are known.
    pub(super) known: HashMap<PathBuf, String>,
    /// Files that are gone, with the documents to be deleted.
    pub(super) gone: Vec<(String, Vec<DocumentId>)>,
    /// Files that are left alone.
    pub(super) untouched: u64,
    /// Why something of a file that is left alone was left out before.
    pub(super) failures: Vec<(PathBuf, String)>,
}

impl Mirror {
    /// The mirror of `folder`, remembered in the file `state`, which is made if it is not there.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), state: state.into(), journal: None, verified: false, may_empty: false }
    }

    /// Lets a folder that holds no file any more empty its mirror. Otherwise that is an error, since a folder is empty
    /// as well when the disk it should be on is not mounted.
    #[must_use]
    pub fn may_empty(mut self, may_empty: bool) -> Self {
        self.may_empty = may_empty;
        self
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the memory, if it is not open.
    pub(super) async fn open(&mut self, scope: &TenantScope, prefix: &str, ctx: &RunContext) -> Result<()> {
        if self.journal.is_none() {
            let into = format!("{}/{}/{prefix}", scope.tenant(), scope.collection());
            let (state, folder) = (self.state.clone(), self.folder.clone());
            let opened = ctx.run_blocking(move |_| Journal::open(&state, &folder, &into));
            self.journal = Some(opened.await?);
            self.verified = false;
        }
        Ok(())
    }

    pub(super) fn journal(&mut self) -> Result<&mut Journal> {
        self.journal.as_mut().ok_or_else(|| Error::internal("the memory of a mirror is not open"))
    }

    /// Asks the target for the documents of all files that were seen, and forgets what it does not hold any more.
    pub(super) async fn verify(
        &mut self,
        target: &dyn IngestTarget,
        scope: &TenantScope,
        ctx: &RunContext,
    ) -> Result<()> {
        if self.verified {
            return Ok(());
        }
        let journal = self.journal()?;
        if !journal.files.is_empty() {
            let held = held(target, scope, ctx).await?;
            for seen in Arc::make_mut(&mut journal.files).values_mut() {
                let before = seen.documents.len();
                seen.documents.retain(|(id, hash)| held.get(id).is_some_and(|held| held == hash));
                if seen.documents.len() < before {
                    seen.doubt();
                }
            }
        }
        self.verified = true;
        Ok(())
    }

    /// Finds the files of the folder, and what of them has changed; those that have not are left out.
    pub(super) async fn look(&mut self, options: &LoadOptions, ctx: &RunContext) -> Result<(Walk, Changes)> {
        let (folder, options, may_empty) = (self.folder.clone(), options.clone(), self.may_empty);
        let seen = self.journal()?.files.clone();
        let looked = ctx.run_blocking(move |_| {
            let mut files = walk(&folder, &options)?;
            let gone = gone(&seen, &files);
            if files.len() == 0 && !seen.is_empty() && !may_empty {
                return Err(emptied(&folder, seen.len()));
            }
            let changes = Changes { gone, ..changed(&seen, &mut files) };
            Ok((files, changes))
        });
        looked.await
    }
}

/// Leaves out of `files` what has not changed.
fn changed(seen: &Files, files: &mut Walk) -> Changes {
    let names: HashMap<PathBuf, String> =
        files.paths().filter_map(|path| Some((path.to_owned(), name(files, path)?))).collect();
    let mut changes = Changes::default();
    files.retain(|path| {
        let Some(seen) = names.get(path).and_then(|name| seen.get(name)) else { return true };
        if !Look::at(path).is_some_and(|look| look.proves(seen.look)) {
            changes.known.insert(path.to_owned(), seen.hash.clone());
            return true;
        }
        changes.untouched += 1;
        changes.failures.extend(seen.failed.clone().map(|failed| (path.to_owned(), failed)));
        false
    });
    changes
}

/// The files that are gone. What lies in a folder that could not be looked into counts as still there.
fn gone(seen: &Files, files: &Walk) -> Vec<(String, Vec<DocumentId>)> {
    let present: HashSet<String> = files.paths().filter_map(|path| name(files, path)).collect();
    let unseen: Vec<&Path> = files.failures().map(|path| files.below_root(path)).collect();
    let gone = seen.iter().filter(|(file, _)| {
        !present.contains(*file) && !unseen.iter().any(|folder| Path::new(file).starts_with(folder))
    });
    gone.map(|(file, seen)| (file.clone(), ids(seen))).collect()
}

fn emptied(folder: &Path, before: usize) -> Error {
    Error::invalid_input(format!(
        "{} holds no file any more, where {before} were; if its documents are to be deleted, allow it",
        folder.display()
    ))
}

/// The documents that `seen` became.
fn ids(seen: &Seen) -> Vec<DocumentId> {
    seen.documents.iter().map(|(id, _)| id.clone()).collect()
}

/// What a file is called in the memory: its path below the folder. There is none for a name that is no text.
fn name(files: &Walk, path: &Path) -> Option<String> {
    files.below_root(path).to_str().map(str::to_owned)
}

/// The hash of the source text of every document of the collection.
async fn held(
    target: &dyn IngestTarget,
    scope: &TenantScope,
    ctx: &RunContext,
) -> Result<HashMap<DocumentId, String>> {
    let mut held = HashMap::new();
    let mut after = None;
    loop {
        let page = ctx.run(target.list(scope, after.as_ref(), PAGE, ctx)).await?;
        let Some(last) = page.last() else { return Ok(held) };
        after = Some(last.id.clone());
        held.extend(page.into_iter().map(|listed| (listed.id, listed.source_hash)));
    }
}
