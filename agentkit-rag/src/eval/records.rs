//! Reading the files of a data set line by line, with errors that name the file and the line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result};
use serde::de::DeserializeOwned;

/// Longest line of a data set in bytes.
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// The lines of a file that are not blank, with the number of the last one for messages.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    file: BufReader<File>,
    number: usize,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(format!("open {}", path.display()), error))?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file), number: 0 })
    }

    /// The next line without its end.
    pub(super) fn next_line(&mut self) -> Option<Result<String>> {
        loop {
            self.number += 1;
            match self.read() {
                Ok(None) => return None,
                Ok(Some(line)) if line.trim().is_empty() => {}
                Ok(Some(line)) => return Some(Ok(line)),
                Err(error) => return Some(Err(self.wrong(&error))),
            }
        }
    }

    fn read(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let read = self.file.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| Error::io("read the line", error))?;
        if read as u64 == MAX_LINE_BYTES {
            return Err(Error::invalid_input(format!("the line is longer than {MAX_LINE_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes);
        let text = text.map_err(|error| Error::invalid_input("the line is not UTF-8").with_source(error))?;
        Ok((read > 0).then(|| text.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// The next line as JSON.
    pub(super) fn next_record<T: DeserializeOwned>(&mut self) -> Option<Result<T>> {
        let line = self.next_line()?;
        Some(line.and_then(|line| {
            serde_json::from_str(&line).map_err(|error| {
                self.wrong(&Error::invalid_input("the line is not a record of the set").with_source(error))
            })
        }))
    }

    /// Puts the file and line in front of an error.
    pub(super) fn wrong(&self, error: &Error) -> Error {
        Error::invalid_input(format!("{}:{}: {}", self.path.display(), self.number, error.chain()))
    }
}
