//! What one file may cost: limits of size, depth and time, and the account that is kept against them.

use std::fmt;
use std::time::{Duration, Instant};

use agentkit_core::{Error, ErrorKind, Result};

use super::RawFile;

/// What a file may cost before it is refused.
///
/// A file that goes beyond one of them is left out with an error of kind resource exhausted that names the file and the
/// limit; the other files of a folder go in.
///
/// # Examples
/// ```
/// use agentkit_rag::load::{LoadLimits, LoadOptions};
///
/// let mut options = LoadOptions::default();
/// options.limits.file_bytes = 1 << 20;
/// assert!(options.limits.file_bytes < LoadLimits::default().file_bytes);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadLimits {
    /// Largest file in bytes; 32 MiB unless set.
    pub file_bytes: u64,
    /// Most bytes that a file's compressed parts may unpack to, all together; 256 MiB unless set.
    pub unpacked_bytes: u64,
    /// How many times larger than its packed form a part of more than a megabyte may be; 200 unless set.
    pub ratio: u64,
    /// Most bytes of extracted text; 64 MiB unless set, which is also what an index takes.
    pub text_bytes: usize,
    /// Most pages of a PDF, chapters of a book or files of an archive; 10,000 unless set.
    pub parts: usize,
    /// Most rows or records of a file; one million unless set.
    pub records: u64,
    /// Deepest nesting of elements or values; 512 unless set.
    pub depth: usize,
    /// How long reading a file may take; 30 seconds unless set.
    pub time: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            file_bytes: 32 << 20,
            unpacked_bytes: 256 << 20,
            ratio: 200,
            text_bytes: crate::index::MAX_DOCUMENT_BYTES,
            parts: 10_000,
            records: 1_000_000,
            depth: 512,
            time: Duration::from_secs(30),
        }
    }
}

/// The account of one file against its limits.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    name: String,
    pub(super) limits: LoadLimits,
    started: Instant,
    unpacked: u64,
}

impl Budget {
    /// Begins the account of `raw`; its time runs from now.
    pub(super) fn start(raw: &RawFile<'_>) -> Self {
        Self { name: raw.name().to_owned(), limits: raw.limits.clone(), started: Instant::now(), unpacked: 0 }
    }

    /// The file's name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The error for a file that is beyond a limit.
    pub(super) fn exceeded(&self, what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::ResourceExhausted, format!("load {}: {what}", self.name))
    }

    /// The error for a file that is not what it should be.
    pub(super) fn malformed(&self, what: impl fmt::Display) -> Error {
        Error::invalid_input(format!("load {}: {what}", self.name))
    }

    /// The error for a file of a kind that is not read.
    pub(super) fn unsupported(&self, what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Unsupported, format!("load {}: {what}", self.name))
    }

    /// Fails once the time is up.
    pub(super) fn check_time(&self) -> Result<()> {
        if self.started.elapsed() < self.limits.time {
            return Ok(());
        }
        Err(self.exceeded(format_args!("it takes longer than the limit of {:?}", self.limits.time)))
    }

    /// What is left of the time.
    pub(super) fn time_left(&self) -> Duration {
        self.limits.time.saturating_sub(self.started.elapsed())
    }

    /// Fails if `bytes` of extracted text are too many, or the time is up.
    pub(super) fn check_text(&self, bytes: usize) -> Result<()> {
        if bytes > self.limits.text_bytes {
            let limit = self.limits.text_bytes;
            return Err(self.exceeded(format_args!("its text is over the limit of {limit} bytes")));
        }
        self.check_time()
    }

    /// Fails if `parts` pages, chapters or files are too many.
    pub(super) fn check_parts(&self, what: &str, parts: usize) -> Result<()> {
        if parts <= self.limits.parts {
            return Ok(());
        }
        Err(self.exceeded(format_args!("its {parts} {what} are over the limit of {}", self.limits.parts)))
    }

    /// Fails if `records` rows or records are too many.
    pub(super) fn check_records(&self, records: u64) -> Result<()> {
        if records <= self.limits.records {
            return Ok(());
        }
        Err(self
            .exceeded(format_args!("it has more rows or records than the limit of {}", self.limits.records)))
    }

    /// Fails if values or elements nest too deeply.
    pub(super) fn check_depth(&self, depth: usize) -> Result<()> {
        if depth <= self.limits.depth {
            return Ok(());
        }
        Err(self.exceeded(format_args!("it nests deeper than the limit of {}", self.limits.depth)))
    }

    /// How many bytes the next part may unpack to; `packed` is its size in the file.
    pub(super) fn allowance(&self, packed: u64) -> u64 {
        let by_ratio = packed.saturating_mul(self.limits.ratio).max(1 << 20);
        self.limits.unpacked_bytes.saturating_sub(self.unpacked).min(by_ratio)
    }

    /// Counts unpacked bytes of a part that has `packed` bytes in the file.
    pub(super) fn unpack(&mut self, bytes: u64, packed: u64) -> Result<()> {
        if bytes > self.allowance(packed) {
            let (limit, ratio) = (self.limits.unpacked_bytes, self.limits.ratio);
            return Err(self.exceeded(format_args!(
                "it unpacks to more than the limit of {limit} bytes, or of {ratio} times its size"
            )));
        }
        self.unpacked += bytes;
        self.check_time()
    }
}

#[cfg(test)]
mod tests {
    use agentkit_core::DocumentId;

    use super::*;

    fn budget(change: impl FnOnce(&mut LoadLimits)) -> Budget {
        let mut limits = LoadLimits::default();
        change(&mut limits);
        Budget::start(&RawFile::new(DocumentId::new("bomb.docx").unwrap(), b"").with_limits(limits))
    }

    #[test]
    fn every_limit_names_the_file_and_itself() {
        let refusals = [
            (budget(|l| l.text_bytes = 7).check_text(8), "limit of 7 bytes"),
            (budget(|l| l.parts = 3).check_parts("pages", 4), "4 pages are over the limit of 3"),
            (budget(|l| l.records = 2).check_records(3), "limit of 2"),
            (budget(|l| l.depth = 5).check_depth(6), "limit of 5"),
            (budget(|l| l.time = Duration::ZERO).check_time(), "limit of 0ns"),
            (budget(|l| l.unpacked_bytes = 9).unpack(10, 10), "limit of 9 bytes"),
            (budget(|_| ()).unpack(2 << 20, 100), "200 times its size"),
        ];
        for (refusal, said) in refusals {
            let error = refusal.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
            assert!(error.message().contains("bomb.docx") && error.message().contains(said), "{error}");
        }
    }

    #[test]
    fn what_is_unpacked_adds_up() {
        let mut budget = budget(|limits| limits.unpacked_bytes = 100);
        assert!(budget.unpack(60, 60).is_ok());
        assert_eq!(budget.allowance(60), 40);
        assert!(budget.unpack(60, 60).is_err());
    }
}
