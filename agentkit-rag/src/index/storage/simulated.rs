//! A file system in memory that fails when it is told to and can lose its power.
//!
//! It is the worst that a real one may be: a file's content is durable up to its last sync; a name that was created
//! or renamed is durable once its folder is synced; removing a name is durable at once. A process that is killed
//! leaves everything it wrote; a power loss leaves what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tantivy::directory::OwnedBytes;

use super::{Lock, Storage, StoredFile};

/// What goes wrong, counted in operations since the file system was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) enum Fault {
    /// This one operation fails.
    Once(u64),
    /// This operation and all later ones fail; a write is done by half first.
    From(u64),
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) enum End {
    /// `kill -9`: what was written is there.
    Killed,
    /// What was not synced is gone.
    PowerLoss,
    /// As a power loss, but half of what a file got after its last sync came to the disk.
    TornPowerLoss,
}

/// The file system; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(in crate::index) struct Simulated {
    state: Arc<Mutex<State>>,
    /// Those of this process; the next one begins without any.
    locks: Arc<Locks>,
}

/// Which paths are locked.
#[derive(Debug, Default)]
struct Locks {
    held: Mutex<BTreeSet<PathBuf>>,
    freed: Condvar,
}

/// A path that is locked until this is dropped.
#[derive(Debug)]
struct Held {
    locks: Arc<Locks>,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
        self.locks.freed.notify_all();
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    operations: u64,
    fault: Option<Fault>,
    struck: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl Simulated {
    pub(in crate::index) fn failing(&self, fault: Fault) -> Self {
        self.state().fault = Some(fault);
        self.clone()
    }

    /// Operations so far.
    pub(in crate::index) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the fault has struck.
    pub(in crate::index) fn struck(&self) -> bool {
        self.state().struck
    }

    /// What the next process finds; whoever still writes here does not reach it.
    pub(in crate::index) fn after(&self, end: End) -> Self {
        let mut state = self.state().clone();
        (state.fault, state.operations, state.struck) = (None, 0, false);
        if end != End::Killed {
            state.names = state.durable.clone();
            state.names.retain(|path, _| {
                let mut above = path.ancestors().skip(1).filter(|above| above.parent().is_some());
                above.all(|above| state.durable.get(above) == Some(&Entry::Folder))
            });
            for content in &mut state.contents {
                let unsynced = content.written.get(content.synced.len()..).unwrap_or_default();
                let kept = if end == End::TornPowerLoss { unsynced.len() / 2 } else { 0 };
                let kept = unsynced.get(..kept).unwrap_or_default().to_vec();
                content.written = [content.synced.clone(), kept].concat();
            }
        }
        state.durable = state.names.clone();
        for content in &mut state.contents {
            content.synced = content.written.clone();
        }
        Self { state: Arc::new(Mutex::new(state)), locks: Arc::default() }
    }

    /// Every file with its content.
    pub(in crate::index) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let files = state.names.iter().filter_map(|(path, entry)| match entry {
            Entry::File(at) => Some((path.clone(), state.contents[*at].written.clone())),
            Entry::Folder => None,
        });
        files.collect()
    }

    /// A copy of the whole in which one file has another content.
    pub(in crate::index) fn with_file(&self, path: &Path, content: Vec<u8>) -> Self {
        let copy = self.after(End::Killed);
        {
            let mut state = copy.state();
            let at = state.file(path).unwrap();
            state.contents[at] = Content { written: content.clone(), synced: content };
        }
        copy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state for one operation, unless it is to fail.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.next_fails() { Err(io::Error::other("the simulated disk fails")) } else { Ok(state) }
    }
}

impl State {
    fn next_fails(&mut self) -> bool {
        let number = self.operations;
        self.operations += 1;
        let fails = match self.fault {
            Some(Fault::Once(at)) => number == at,
            Some(Fault::From(at)) => number >= at,
            None => false,
        };
        self.struck |= fails;
        fails
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(at)) => Ok(*at),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn in_folder(path: &Path, folder: &Path) -> bool {
        path.parent() == Some(folder)
    }
}

impl Storage for Simulated {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.names.insert(path.to_owned(), Entry::Folder);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.operate()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|parent| state.names.get(parent) == Some(&Entry::Folder)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let at = state.contents.len();
        state.contents.push(Content::default());
        state.names.insert(path.to_owned(), Entry::File(at));
        Ok(Box::new(SimulatedFile { disk: self.clone(), at }))
    }

    fn extend(&self, path: &Path, length: u64) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.operate()?;
        let at = state.file(path)?;
        let length = usize::try_from(length).unwrap();
        state.contents[at].written.truncate(length);
        // A cut is taken to be durable at once, as removing a name is: nothing may depend on what was cut off.
        state.contents[at].synced.truncate(length);
        Ok(Box::new(SimulatedFile { disk: self.clone(), at }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.operate()?;
        Ok(state.contents[state.file(path)?].written.clone())
    }

    fn map(&self, path: &Path) -> io::Result<OwnedBytes> {
        Ok(OwnedBytes::new(self.read(path)?))
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.operate()?;
        Ok(state.file(path).ok().map(|at| state.contents[at].written.len() as u64))
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        let state = self.operate()?;
        Ok(path.parent().is_none() || state.names.get(path) == Some(&Entry::Folder))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.operate()?;
        if state.names.get(folder) != Some(&Entry::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| State::in_folder(path, folder));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let entry = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), entry);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        state.file(path)?;
        state.names.remove(path);
        state.durable.remove(path);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        if state.names.keys().any(|name| State::in_folder(name, path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.names.remove(path);
        state.durable.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let State { names, durable, .. } = &mut *state;
        durable.retain(|name, _| !State::in_folder(name, path));
        let inside = names.iter().filter(|(name, _)| State::in_folder(name, path));
        durable.extend(inside.map(|(name, entry)| (name.clone(), *entry)));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let held = self.locks.held.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.locks.freed.wait_while(held, |held| held.contains(path));
        free.unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        Ok(Box::new(Held { locks: self.locks.clone(), path: path.to_owned() }))
    }

    /// Always succeeds: a writer that was given up for dead may still be there.
    fn try_lock(&self, _: &Path, _: &str) -> io::Result<Result<Lock, String>> {
        Ok(Ok(Box::new(())))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    at: usize,
}

impl Write for SimulatedFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let fails = state.next_fails();
        let written = if fails { &data[..data.len() / 2] } else { data };
        state.contents[self.at].written.extend_from_slice(written);
        if fails { Err(io::Error::other("the simulated disk fails")) } else { Ok(data.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StoredFile for SimulatedFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        let content = &mut state.contents[self.at];
        content.synced = content.written.clone();
        Ok(())
    }
}

#[test]
fn a_power_loss_takes_what_was_not_synced_and_a_kill_does_not() {
    let disk = Simulated::default();
    let folder = Path::new("/index");
    super::create_folders(&disk, folder).unwrap();
    let mut file = disk.create(&folder.join("a")).unwrap();
    file.write_all(b"durable").unwrap();
    file.sync().unwrap();
    disk.sync_folder(folder).unwrap();
    file.write_all(b" and not").unwrap();
    disk.create(&folder.join("b")).unwrap();
    let content = |end| disk.after(end).read(&folder.join("a")).unwrap();
    assert_eq!(content(End::Killed), b"durable and not");
    assert_eq!(content(End::PowerLoss), b"durable");
    assert_eq!(content(End::TornPowerLoss), b"durable and");
    assert_eq!(disk.after(End::Killed).list(folder).unwrap(), ["a", "b"]);
    assert_eq!(disk.after(End::PowerLoss).list(folder).unwrap(), ["a"]);
    disk.rename(&folder.join("a"), &folder.join("c")).unwrap();
    assert_eq!(disk.after(End::PowerLoss).list(folder).unwrap(), ["a"], "the rename was not synced");
}

/// Tantivy relies on it: a reader that opens files keeps the writer from removing them meanwhile.
#[test]
fn a_lock_is_held_by_one_at_a_time() {
    let disk = Simulated::default();
    let path = Path::new("/lock");
    let held = disk.lock(path).unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _second = disk.lock(path).unwrap();
            said.send("second").unwrap();
        });
        let _other = disk.lock(Path::new("/other")).unwrap();
        assert!(
            heard.recv_timeout(std::time::Duration::from_millis(50)).is_err(),
            "the first still holds it"
        );
        drop(held);
        assert_eq!(heard.recv(), Ok("second"));
    });
    assert!(disk.after(End::Killed).lock(path).is_ok());
}
