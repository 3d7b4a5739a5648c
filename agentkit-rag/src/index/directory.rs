//! The folder Tantivy works in, made as careful as the rest of the index.
//!
//! Tantivy syncs its folder before it renames `meta.json` but not after, gives `meta.json` no checksum, and does
//! not verify the checksums of its segment files when it opens them. This directory does all three. Nor does it keep
//! Tantivy's list of files: a listing of the folder says the same and cannot be out of date. After a
//! write has failed it refuses everything, because Tantivy may by then hold state in memory that was never
//! made durable; the writer is then thrown away and the folder opened anew.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenDirectoryError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, META_LOCK, OwnedBytes, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};

use super::sealed;
use super::storage::{Folder, Storage, StoredFile};

/// Tantivy's list of the files it may delete.
const MANAGED: &str = ".managed.json";
/// Magic number at the end of every file Tantivy writes through `open_write`.
const FOOTER_MAGIC: u32 = 1337;
/// Bytes of the footer's length and magic number.
const FOOTER_TAIL: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct SafeDirectory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: Folder,
    failed: AtomicBool,
    /// Held while a file is replaced.
    replacing: Mutex<()>,
    /// Files whose checksum has been verified, or that this process has written.
    verified: Mutex<HashSet<PathBuf>>,
}

impl SafeDirectory {
    pub(super) fn open(folder: Folder) -> Result<Self, OpenDirectoryError> {
        let path = || folder.path.clone();
        match folder.storage.is_folder(&folder.path) {
            Ok(true) => {}
            Ok(false) => return Err(OpenDirectoryError::DoesNotExist(path())),
            Err(error) => return Err(OpenDirectoryError::wrap_io_error(error, path())),
        }
        let shared = Shared {
            folder,
            failed: AtomicBool::new(false),
            replacing: Mutex::default(),
            verified: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Lets every later write fail; one that is replacing a file is waited for.
    pub(super) fn refuse_writes(&self) {
        self.shared.failed.store(true, Ordering::Release);
        drop(self.shared.replacing.lock());
    }

    fn full(&self, path: &Path) -> PathBuf {
        self.shared.folder.at(path)
    }

    fn storage(&self) -> &dyn Storage {
        &*self.shared.folder.storage
    }

    fn refuse_after_failure(&self) -> io::Result<()> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(io::Error::other(
                "an earlier write failed or the index was closed; it has to be opened anew",
            ));
        }
        Ok(())
    }

    fn noting_failure<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.shared.failed.store(true, Ordering::Release);
        }
        result
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.shared.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every file that Tantivy may delete when no commit names it: what there is, so no list has to be kept.
    fn managed_files(&self) -> io::Result<Vec<u8>> {
        let mut names = self.storage().list(&self.shared.folder.path)?;
        names.retain(|name| !name.starts_with('.'));
        Ok(serde_json::to_vec(&names)?)
    }

    /// The file's bytes, verified the first time it is opened.
    fn read_verified(&self, path: &Path) -> io::Result<OwnedBytes> {
        let bytes = self.storage().map(&self.full(path))?;
        if !self.verified().contains(path) {
            verify_footer(&bytes).map_err(|problem| {
                let message = format!("{} is damaged: {problem}", self.full(path).display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            self.verified().insert(path.to_owned());
        }
        Ok(bytes)
    }
}

/// Checks the CRC-32 that Tantivy keeps in a JSON footer: body, footer, footer length (u32), magic number (u32).
fn verify_footer(bytes: &[u8]) -> Result<(), &'static str> {
    let tail_at = bytes.len().checked_sub(FOOTER_TAIL).ok_or("it is too short")?;
    let (rest, tail) = bytes.split_at(tail_at);
    let (length, magic) = tail.split_at(4);
    if magic != FOOTER_MAGIC.to_le_bytes() {
        return Err("its end is missing");
    }
    let length = u32::from_le_bytes(length.try_into().map_err(|_| "its end is missing")?) as usize;
    let body_length = rest.len().checked_sub(length).ok_or("its footer is malformed")?;
    let (body, footer) = rest.split_at(body_length);
    let footer: serde_json::Value = serde_json::from_slice(footer).map_err(|_| "its footer is malformed")?;
    let expected =
        footer.get("crc").and_then(serde_json::Value::as_u64).ok_or("its footer has no checksum")?;
    if u64::from(crc32fast::hash(body)) != expected {
        return Err("its checksum does not match");
    }
    Ok(())
}

impl Directory for SafeDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        match self.read_verified(path) {
            Ok(bytes) => Ok(Arc::new(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(OpenReadError::FileDoesNotExist(self.full(path)))
            }
            Err(error) => Err(OpenReadError::wrap_io_error(error, path.to_owned())),
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let failed = |error| DeleteError::IoError { io_error: Arc::new(error), filepath: path.to_owned() };
        self.refuse_after_failure().map_err(failed)?;
        self.verified().remove(path);
        self.storage().remove(&self.full(path)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.to_owned()),
            _ => failed(error),
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        let length = self.storage().length(&self.full(path));
        length
            .map(|length| length.is_some())
            .map_err(|error| OpenReadError::wrap_io_error(error, path.to_owned()))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let wrap = |error| OpenWriteError::wrap_io_error(error, path.to_owned());
        self.refuse_after_failure().map_err(wrap)?;
        let opened = self.storage().create(&self.full(path));
        if let Err(error) = &opened
            && error.kind() == io::ErrorKind::AlreadyExists
        {
            return Err(OpenWriteError::FileAlreadyExists(path.to_owned()));
        }
        let file = self.noting_failure(opened).map_err(wrap)?;
        let writer = SyncedWriter { directory: self.clone(), path: path.to_owned(), file };
        Ok(BufWriter::new(Box::new(writer)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        if path == Path::new(MANAGED) {
            return self
                .managed_files()
                .map_err(|error| OpenReadError::wrap_io_error(error, path.to_owned()));
        }
        sealed::read(self.storage(), &self.full(path)).map_err(|error| {
            if error.is_not_found() {
                return OpenReadError::FileDoesNotExist(path.to_owned());
            }
            OpenReadError::wrap_io_error(io::Error::new(io::ErrorKind::InvalidData, error), path.to_owned())
        })
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let _replacing = self.shared.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_after_failure()?;
        if path == Path::new(MANAGED) {
            return Ok(());
        }
        self.noting_failure(sealed::write(self.storage(), &self.full(path), data))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.noting_failure(self.shared.folder.sync())
    }

    /// Writers are kept apart by the lock of the whole index; the lock on `meta.json` keeps a reader of another
    /// process from listing files that the writer is just deleting.
    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        if lock.filepath != META_LOCK.filepath {
            return Ok(DirectoryLock::from(Box::new(())));
        }
        let held = self.storage().lock(&self.full(&lock.filepath));
        held.map(|lock| DirectoryLock::from(Box::new(lock)))
            .map_err(|error| LockError::IoError(Arc::new(error)))
    }

    /// Snapshots are published by the writer, so nothing is ever watched.
    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// A new file that is durable once terminated.
struct SyncedWriter {
    directory: SafeDirectory,
    path: PathBuf,
    file: Box<dyn StoredFile>,
}

impl Write for SyncedWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.directory.noting_failure(self.file.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for SyncedWriter {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.directory.noting_failure(self.file.sync())?;
        self.directory.verified().insert(self.path.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tantivy::HasLen;

    use super::super::storage::Disk;
    use super::*;

    fn on_disk(folder: &Path) -> Folder {
        Folder::new(Arc::new(Disk), folder)
    }

    fn written(folder: &Path) -> SafeDirectory {
        let directory = SafeDirectory::open(on_disk(folder)).unwrap();
        let managed = tantivy::directory::ManagedDirectory::wrap(Box::new(directory.clone())).unwrap();
        let mut writer = managed.open_write(Path::new("segment.store")).unwrap();
        writer.write_all(b"some bytes of a segment").unwrap();
        writer.terminate().unwrap();
        directory
    }

    #[test]
    fn a_damaged_segment_file_is_refused_at_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path());
        let path = folder.path().join("segment.store");
        let whole = std::fs::read(&path).unwrap();
        let body = b"some bytes of a segment".len();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let fresh = SafeDirectory::open(on_disk(folder.path())).unwrap();
            let opened = fresh.open_read(Path::new("segment.store"));
            // The footer also names Tantivy's version, which is Tantivy's own to check.
            assert!(at >= body || opened.is_err(), "byte {at} of {}", whole.len());
            std::fs::write(&path, &whole[..at]).unwrap();
            let fresh = SafeDirectory::open(on_disk(folder.path())).unwrap();
            assert!(fresh.open_read(Path::new("segment.store")).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn after_a_failed_write_nothing_is_written_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let directory = written(folder.path());
        let missing = Path::new("no/such/folder/meta.json");
        assert!(directory.atomic_write(missing, b"x").is_err());
        assert!(directory.atomic_write(Path::new("meta.json"), b"x").is_err());
        assert!(directory.open_write(Path::new("other")).is_err());
        assert!(directory.open_read(Path::new("segment.store")).unwrap().len() > 0);
    }
}
