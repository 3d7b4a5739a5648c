//! The folder an index is built in: new, below one that exists, and gone afterwards unless it is kept.

use std::io;
use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result};
use tempfile::TempDir;

/// Where the index is.
pub(super) enum Folder {
    /// Deleted when dropped.
    Temporary(TempDir),
    /// Another process's.
    Borrowed(PathBuf),
}

impl Folder {
    pub(super) fn new(parent: Option<&Path>) -> Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let made = tempfile::Builder::new().prefix("agentkit-bench-").tempdir_in(&parent);
        let made =
            made.map_err(|error| Error::io(format!("create a folder in {}", parent.display()), error))?;
        Ok(Self::Temporary(made))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Borrowed(path) => path,
        }
    }

    /// Bytes of all files in it.
    pub(super) fn size(&self) -> Result<u64> {
        let failed = |error| Error::io(format!("measure folder {}", self.path().display()), error);
        size(self.path()).map_err(failed)
    }

    /// Leaves the folder where it is.
    pub(super) fn keep(self) -> PathBuf {
        match self {
            Self::Temporary(folder) => folder.keep(),
            Self::Borrowed(path) => path,
        }
    }
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { size(&entry.path())? } else { kind.len() };
    }
    Ok(bytes)
}
