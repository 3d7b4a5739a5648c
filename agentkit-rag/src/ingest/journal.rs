//! The file in which a mirror remembers what it has taken in: a line for each file, added when the file is done with.
//!
//! The last line about a file counts. A line that a kill cut off is dropped, so that its file is read once more; a line
//! never promises what is not yet durable in the target.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkit_core::{DocumentId, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::read::Look;

/// The number in the first line; another one is another form of the file.
const VERSION: u32 = 1;
/// Lines that count no more are removed when there are so many, and as many as those that count.
const SPARE_LINES: usize = 1000;

/// What a file held when it was last taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    #[serde(flatten)]
    pub(super) look: Look,
    /// Hash of its bytes.
    pub(super) hash: String,
    /// The documents it became, each with the hash of its source text.
    pub(super) documents: Vec<(DocumentId, String)>,
    /// Why something of it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

impl Seen {
    /// Has the file read again, whatever it looks like.
    pub(super) fn doubt(&mut self) {
        self.look.modified = 0;
        self.hash.clear();
    }
}

/// What is known of each file, by its path below the folder.
pub(super) type Files = BTreeMap<String, Seen>;

/// What all lines are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    version: u32,
    /// The build that wrote it: another one may read files that this one could not.
    build: String,
    folder: PathBuf,
    /// The collection and the prefix of the ids.
    into: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
}

/// The open file and what it says.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    header: Header,
    file: File,
    lines: usize,
    pub(super) files: Arc<Files>,
    _lock: File,
}

impl Journal {
    /// Opens the journal at `path`, which is about the ingest of `folder` into `into`; an empty one if there is none.
    pub(super) fn open(path: &Path, folder: &Path, into: &str) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed("create", parent, error))?;
        }
        let lock = lock(path)?;
        let header = Header {
            version: VERSION,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            folder: folder.to_owned(),
            into: into.to_owned(),
        };
        let (files, lines) = match fs::read(path) {
            Ok(bytes) => read(path, &bytes, &header)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Files::new(), 0),
            Err(error) => return Err(failed("read", path, error)),
        };
        // Written anew, which also removes a line that was cut off.
        let (file, lines) = if lines == 0 || lines > 2 * files.len() + SPARE_LINES {
            (rewrite(path, &header, &files)?, files.len())
        } else {
            (append_to(path)?, lines)
        };
        Ok(Self { path: path.to_owned(), header, file, lines, files: Arc::new(files), _lock: lock })
    }

    /// Notes that a file is done with.
    pub(super) fn note(&mut self, file: &str, seen: Seen) -> Result<()> {
        self.add(&Line { file: file.to_owned(), seen: Some(seen.clone()) })?;
        Arc::make_mut(&mut self.files).insert(file.to_owned(), seen);
        Ok(())
    }

    /// Notes that a file is gone, and its documents with it.
    pub(super) fn forget(&mut self, file: &str) -> Result<()> {
        self.add(&Line { file: file.to_owned(), seen: None })?;
        Arc::make_mut(&mut self.files).remove(file);
        Ok(())
    }

    fn add(&mut self, line: &Line) -> Result<()> {
        let mut text = json(line)?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(|error| failed("write", &self.path, error))?;
        self.lines += 1;
        if self.lines > 2 * self.files.len() + SPARE_LINES {
            self.file = rewrite(&self.path, &self.header, &self.files)?;
            self.lines = self.files.len();
        }
        Ok(())
    }
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("{what} {}", path.display()), error)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal("serialise what a folder held").with_source(error))
}

/// Held while the journal is open, so that two never mirror the same folder at once.
fn lock(path: &Path) -> Result<File> {
    let path = path.with_extension("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| failed("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message =
                format!("{} is held: the folder is being synced by another process", path.display());
            Err(Error::new(ErrorKind::Conflict, message))
        }
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, error)),
    }
}

/// What the lines say, and how many there are; none if the file has to be written anew.
fn read(path: &Path, bytes: &[u8], expected: &Header) -> Result<(Files, usize)> {
    let shown = path.display();
    let damaged = |error| {
        let message = format!("{shown} is damaged; remove it, and every file is read again");
        Error::corrupt(message).with_source(error)
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let cut_off = whole < bytes.len();
    let mut lines = bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
    let Some(first) = lines.next().filter(|first| !first.is_empty()) else { return Ok((Files::new(), 0)) };
    let header: Header = serde_json::from_slice(first).map_err(damaged)?;
    let build = header.build.clone();
    let same = Header { build: expected.build.clone(), ..header };
    if same != *expected {
        let message =
            format!("{shown} is about {} or of another version; name another file", same.folder.display());
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    let (mut files, mut count) = (Files::new(), 0);
    for line in lines.filter(|line| !line.is_empty()) {
        let line: Line = serde_json::from_slice(line).map_err(damaged)?;
        count += 1;
        match line.seen {
            Some(seen) => files.insert(line.file, seen),
            None => files.remove(&line.file),
        };
    }
    if build != expected.build {
        files.values_mut().filter(|seen: &&mut Seen| seen.failed.is_some()).for_each(Seen::doubt);
        count = 0;
    }
    Ok((files, if cut_off { 0 } else { count }))
}

/// Replaces the file at once by one that says just this.
fn rewrite(path: &Path, header: &Header, files: &Files) -> Result<File> {
    let io = |error| failed("write", path, error);
    let mut text = json(header)?;
    for (file, seen) in files {
        text.push(b'\n');
        text.extend(json(&Line { file: file.clone(), seen: Some(seen.clone()) })?);
    }
    text.push(b'\n');
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(&text).map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    append_to(path)
}

fn append_to(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).open(path).map_err(|error| failed("open", path, error))
}
