//! The real file system. Where the system knows owners, what is made is for its owner alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tantivy::directory::OwnedBytes;

use super::{Lock, Storage, StoredFile, mapped};

/// Files as the operating system keeps them.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::index) struct Disk;

impl StoredFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Storage for Disk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        private::folder().create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(private::file().write(true).create_new(true).open(path)?))
    }

    fn extend(&self, path: &Path, length: u64) -> io::Result<Box<dyn StoredFile>> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn map(&self, path: &Path) -> io::Result<OwnedBytes> {
        mapped::map(path)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(found) => Ok(found.is_file().then_some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(found) => Ok(found.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(folder)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let file = lock_file(path)?;
        file.lock()?;
        Ok(Box::new(file))
    }

    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<Result<Lock, String>> {
        let mut file = lock_file(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                writeln!(file, "{holder}")?;
                Ok(Ok(Box::new(file)))
            }
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let mut present = String::new();
                // What the holder wrote is only for the message.
                let _ = file.read_to_string(&mut present);
                Ok(Err(present.trim().to_owned()))
            }
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    private::file().create(true).truncate(false).read(true).write(true).open(path)
}

/// How files and folders are made that only their owner may read.
#[cfg(unix)]
mod private {
    use std::fs::{DirBuilder, OpenOptions};
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

    pub(super) fn file() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.mode(0o600);
        options
    }

    pub(super) fn folder() -> DirBuilder {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder
    }
}

/// Such a system takes permissions from the folder above.
#[cfg(not(unix))]
mod private {
    use std::fs::{DirBuilder, OpenOptions};

    pub(super) fn file() -> OpenOptions {
        OpenOptions::new()
    }

    pub(super) fn folder() -> DirBuilder {
        DirBuilder::new()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_made_is_for_its_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let (folder, file, lock) =
            (place.path().join("f"), place.path().join("f/a"), place.path().join("f/l"));
        Disk.create_folder(&folder).unwrap();
        Disk.create(&file).unwrap();
        drop(Disk.try_lock(&lock, "me").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file), mode(&lock)), (0o700, 0o600, 0o600));
    }
}
