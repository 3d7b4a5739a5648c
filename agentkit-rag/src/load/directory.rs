//! Files and folders: finds what can be loaded, by the ignore rules, and loads it file by file.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use agentkit_core::{DocumentId, Error, ErrorKind, Result};
use ignore::WalkBuilder;

use super::{LoadLimits, Loaders, RawFile};
use crate::source::SourceDocument;

/// How files are found and loaded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// What one file may cost; those beyond are skipped.
    pub limits: LoadLimits,
    /// A folder with more files to load is refused; one million unless set.
    pub max_files: usize,
    /// Put before every document id, to keep apart what was loaded from several folders; empty unless set.
    pub id_prefix: String,
    /// Which formats are loaded, and how.
    pub loaders: Loaders,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            limits: LoadLimits::default(),
            max_files: 1_000_000,
            id_prefix: String::new(),
            loaders: Loaders::default(),
        }
    }
}

/// What became of a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileOutcome {
    /// It was loaded.
    Loaded {
        /// The file, below the path that was given.
        path: PathBuf,
        /// Its documents: one, unless its records are documents of their own.
        documents: Vec<SourceDocument>,
    },
    /// It could not be read and was left out.
    Skipped {
        /// The file or folder, below the path that was given.
        path: PathBuf,
        /// Why; the message names the file.
        error: Error,
    },
}

/// What happens while files are loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadEvent<'a> {
    /// The files to load are known; comes first and once.
    Found {
        /// How many outcomes will follow.
        files: usize,
    },
    /// A file was loaded.
    Loaded {
        /// The file.
        path: &'a Path,
    },
    /// A file could not be read and was left out.
    Skipped {
        /// The file or folder.
        path: &'a Path,
        /// Why; the message names the file.
        error: &'a Error,
    },
}

/// The files found under a path; loads one with each step. Made by [`walk`].
#[derive(Debug)]
pub struct Walk {
    root: PathBuf,
    options: LoadOptions,
    files: std::vec::IntoIter<Result<PathBuf, (PathBuf, Error)>>,
}

/// Finds the files to load under `path`, which is a file or a folder.
///
/// In a folder, `.gitignore` and `.ignore` files are respected, hidden files and files of other formats are left
/// out, symbolic links are not followed, and the order is that of the paths. A document's id is its path below the
/// folder with `/` between names, or the name of the single file (a record's has `#` and the record's own id added); its uri is `path` with that added; its metadata
/// has `path` and `extension`.
///
/// # Errors
/// Not found or unavailable if `path` itself cannot be read; resource exhausted if there are too many files.
pub fn walk(path: &Path, options: &LoadOptions) -> Result<Walk> {
    let about = std::fs::metadata(path).map_err(|e| Error::io(format!("load {}", path.display()), e))?;
    let (root, files) = if about.is_dir() {
        (path.to_owned(), list(path, options)?)
    } else {
        (path.parent().unwrap_or(path).to_owned(), vec![Ok(path.to_owned())])
    };
    Ok(Walk { root, options: options.clone(), files: files.into_iter() })
}

/// Loads everything under `path` into memory, telling `on_event` of each file; see [`walk`].
///
/// # Errors
/// As [`walk`]; a single file that cannot be read is no error but an event.
pub fn load_path(
    path: &Path,
    options: &LoadOptions,
    on_event: &mut dyn FnMut(LoadEvent<'_>),
) -> Result<Vec<SourceDocument>> {
    let outcomes = walk(path, options)?;
    on_event(LoadEvent::Found { files: outcomes.len() });
    let mut documents = Vec::new();
    for outcome in outcomes {
        match outcome {
            FileOutcome::Loaded { path, documents: loaded } => {
                on_event(LoadEvent::Loaded { path: &path });
                documents.extend(loaded);
            }
            FileOutcome::Skipped { path, error } => {
                on_event(LoadEvent::Skipped { path: &path, error: &error });
            }
        }
    }
    Ok(documents)
}

impl Iterator for Walk {
    type Item = FileOutcome;

    fn next(&mut self) -> Option<FileOutcome> {
        Some(match self.next_file()? {
            Ok(path) => match self.read(&path).and_then(|bytes| self.parse(&path, &bytes)) {
                Ok(documents) => FileOutcome::Loaded { path, documents },
                Err(error) => FileOutcome::Skipped { path, error },
            },
            Err((path, error)) => FileOutcome::Skipped { path, error },
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.files.size_hint()
    }
}

impl ExactSizeIterator for Walk {}

impl Walk {
    /// The files that are still to be loaded, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.as_slice().iter().filter_map(|file| file.as_deref().ok())
    }

    /// The files and folders that could not be looked at.
    pub fn failures(&self) -> impl Iterator<Item = &Path> {
        self.files.as_slice().iter().filter_map(|file| file.as_ref().err().map(|(path, _)| path.as_path()))
    }

    /// Leaves out the files that `keep` refuses, before they are read.
    pub fn retain(&mut self, mut keep: impl FnMut(&Path) -> bool) {
        let files = std::mem::take(&mut self.files);
        let kept: Vec<_> = files.filter(|file| file.as_deref().map_or(true, &mut keep)).collect();
        self.files = kept.into_iter();
    }

    /// Takes the next file without reading it.
    pub(crate) fn next_file(&mut self) -> Option<Result<PathBuf, (PathBuf, Error)>> {
        self.files.next()
    }

    /// The content of one of the files, within the limit of its size.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        read(path, self.options.limits.file_bytes)
    }

    /// The documents in the content of one of the files. A loader that panics, which none should, costs this file only.
    pub(crate) fn parse(&self, path: &Path, bytes: &[u8]) -> Result<Vec<SourceDocument>> {
        catch_unwind(AssertUnwindSafe(|| self.parse_trusting(path, bytes))).unwrap_or_else(|_| {
            Err(Error::internal(format!("load {}: its loader panicked; please report it", path.display())))
        })
    }

    fn parse_trusting(&self, path: &Path, bytes: &[u8]) -> Result<Vec<SourceDocument>> {
        let relative = relative_id(self.below_root(path))?;
        let id = DocumentId::new(format!("{}{relative}", self.options.id_prefix))
            .map_err(|error| Error::invalid_input(format!("load {}", path.display())).with_source(error))?;
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let loaders = &self.options.loaders;
        let name = path.display().to_string();
        let loader = loaders.for_path(path).ok_or_else(|| loaders.unsupported(&name, &extension))?;
        let limits = self.options.limits.clone();
        let mut documents = loader.load_all(&RawFile::new(id, bytes).with_uri(name).with_limits(limits))?;
        for document in &mut documents {
            document.metadata.insert("path", relative.clone());
            document.metadata.insert("extension", extension.clone());
        }
        Ok(documents)
    }

    /// The folder that was given, or that of the file.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `path` without the folder that was given.
    pub(crate) fn below_root<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

/// `relative` with `/` between its names.
fn relative_id(relative: &Path) -> Result<String> {
    let mut names = Vec::new();
    for name in relative {
        names.push(name.to_str().ok_or_else(|| {
            let name = name.as_encoded_bytes().escape_ascii();
            let shown = relative.display();
            Error::invalid_input(format!("load {shown}: the name \"{name}\" is not UTF-8; rename it"))
        })?);
    }
    Ok(names.join("/"))
}

/// The content of a regular file, which may grow while it is read but not beyond `limit`.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    // A pipe would block when opened, so the kind is looked at before.
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        return Err(Error::invalid_input(format!("read {}: it is not a regular file", path.display())));
    }
    let mut bytes = Vec::new();
    if about.len() <= limit {
        let file = File::open(path).map_err(failed)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    }
    let size = about.len().max(bytes.len() as u64);
    if size > limit {
        let message =
            format!("read {}: {size} bytes are over the limit of {limit} for a file", path.display());
        return Err(Error::new(ErrorKind::ResourceExhausted, message));
    }
    Ok(bytes)
}

/// The files under `root` in the order of their paths, and what could not be looked at.
fn list(root: &Path, options: &LoadOptions) -> Result<Vec<Result<PathBuf, (PathBuf, Error)>>> {
    let mut found = Vec::new();
    let walk = WalkBuilder::new(root).require_git(false).git_global(false).follow_links(false).build();
    for entry in walk {
        match entry {
            Err(error) => found.push(Err(unreadable(root, error))),
            Ok(entry) => {
                let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
                if is_file && options.loaders.for_path(entry.path()).is_some() {
                    found.push(Ok(entry.into_path()));
                }
            }
        }
        if found.len() > options.max_files {
            let (root, limit) = (root.display(), options.max_files);
            let message = format!("load {root}: more than {limit} files; load its folders one by one");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
    }
    let path = |entry: &Result<PathBuf, (PathBuf, Error)>| match entry {
        Ok(path) | Err((path, _)) => path.clone(),
    };
    found.sort_by_cached_key(path);
    Ok(found)
}

/// The place and the reason of a failed step of the walk.
fn unreadable(root: &Path, error: ignore::Error) -> (PathBuf, Error) {
    let path = failed_path(&error).unwrap_or(root).to_owned();
    let attempt = format!("look into {}", path.display());
    let error = match error.into_io_error() {
        Some(io) => Error::io(attempt, io),
        None => Error::new(ErrorKind::Unavailable, attempt),
    };
    (path, error)
}

fn failed_path(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithLineNumber { err, .. } | ignore::Error::WithDepth { err, .. } => failed_path(err),
        ignore::Error::Partial(errors) => errors.iter().find_map(failed_path),
        _ => None,
    }
}
