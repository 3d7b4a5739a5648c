//! Who serves a data directory: a small file that leads the command line to the running server.

use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result};
use serde::{Deserialize, Serialize};

const FILE: &str = "server.json";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Where the server answers.
    pub(crate) url: String,
    /// Its process.
    pub(crate) pid: u32,
}

/// The file while the server runs; dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Announcement(PathBuf);

impl Holder {
    /// The server that announced itself for `data_dir`, if any; it may be gone by now.
    pub(crate) fn find(data_dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(data_dir.join(FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Announces this process as the server of `data_dir` at `url`.
    pub(crate) fn announce(data_dir: &Path, url: String) -> Result<Announcement> {
        let failed = |error| Error::io(format!("announce the server in {}", data_dir.display()), error);
        let holder = Self { url, pid: std::process::id() };
        let json = serde_json::to_vec(&holder).map_err(|error| failed(error.into()))?;
        // Written aside and renamed, so that nobody reads half of it.
        let mut file = tempfile::NamedTempFile::new_in(data_dir).map_err(failed)?;
        std::io::Write::write_all(&mut file, &json).map_err(failed)?;
        let path = data_dir.join(FILE);
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(Announcement(path))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "the announcement was already gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Holder::find(folder.path()), None);
        let announced = Holder::announce(folder.path(), "http://127.0.0.1:1".into()).unwrap();
        let found = Holder::find(folder.path()).unwrap();
        assert_eq!((found.url.as_str(), found.pid), ("http://127.0.0.1:1", std::process::id()));
        drop(announced);
        assert_eq!(Holder::find(folder.path()), None);
    }
}
