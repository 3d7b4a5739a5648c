//! The few file operations the index is made of, behind one trait, so that a test can let any of them fail.
//!
//! Everything the index reads or writes goes through [`Storage`], Tantivy's files too. [`Disk`] is the real one;
//! the tests use a simulated one that also forgets, as a power loss does, whatever was not synced.

mod disk;
mod mapped;
#[cfg(test)]
pub(super) mod simulated;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::directory::OwnedBytes;

pub(super) use self::disk::Disk;

/// A held lock; dropping it gives it back.
pub(super) type Lock = Box<dyn Send + Sync>;

/// What a file system does for an index. Writers of the same file never meet: the index has one writer.
pub(super) trait Storage: fmt::Debug + Send + Sync {
    /// Creates one folder; its name is durable once its parent is synced.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates a new file; an error of kind `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Opens an existing file for appending after its first `length` bytes and drops the rest.
    fn extend(&self, path: &Path, length: u64) -> io::Result<Box<dyn StoredFile>>;

    /// The whole content of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The content of a file, paged in as it is read.
    fn map(&self, path: &Path) -> io::Result<OwnedBytes>;

    /// Length of a file, or `None` if there is none.
    fn length(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Whether there is such a folder.
    fn is_folder(&self, path: &Path) -> io::Result<bool>;

    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Replaces `to` by `from`; durable once the folder is synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; those who have it mapped keep its content.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Waits for the lock on `path`, creating the file if needed.
    fn lock(&self, path: &Path) -> io::Result<Lock>;

    /// Takes the lock on `path` and writes `holder` into it, or says what the present holder wrote.
    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<Result<Lock, String>>;
}

/// A file open for writing.
pub(super) trait StoredFile: Write + fmt::Debug + Send + Sync {
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Creates a folder and those above it that are missing, all durable.
///
/// A folder that is there already may have been made by a process that ended before it was durable, so its name
/// is synced all the same. Those above it were, or nothing would have been made in them.
pub(super) fn create_folders(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    // The parent of a relative name is the empty path, which cannot be opened.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if storage.is_folder(path)? {
        return match storage.sync_folder(parent) {
            // A folder that someone else gave us in a place we may not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    create_folders(storage, parent)?;
    storage.create_folder(path)?;
    storage.sync_folder(parent)
}

/// Removes a folder and all that is in it.
pub(super) fn remove_folder(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    for name in storage.list(path)? {
        let inside = path.join(name);
        if storage.is_folder(&inside)? {
            remove_folder(storage, &inside)?;
        } else {
            storage.remove(&inside)?;
        }
    }
    storage.remove_folder(path)
}

/// Files one writer may use; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new(storage: Arc<dyn Storage>, path: impl Into<PathBuf>) -> Self {
        Self { storage, path: path.into() }
    }

    /// Where `name` is in this folder.
    pub(super) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A folder in this one.
    pub(super) fn folder(&self, name: impl AsRef<Path>) -> Self {
        Self { storage: self.storage.clone(), path: self.at(name) }
    }

    /// Makes the names in this folder durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.storage.sync_folder(&self.path)
    }
}
