//! The one error of the workspace's libraries: a kind to decide by, a message to read, a source to trace.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The result of every fallible call in agentkit.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the categories a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input is wrong; sending it again will fail again.
    InvalidInput,
    /// The named thing does not exist in this scope.
    NotFound,
    /// Somebody else holds or has changed the thing, for example a second writer.
    Conflict,
    /// An upstream service refused the credentials.
    Unauthorized,
    /// An upstream service asks to slow down.
    RateLimited,
    /// A dependency cannot be reached or is overloaded; trying again later may help.
    Unavailable,
    /// A limit of this process is reached, so the call was turned away before any work was done for it.
    Overloaded,
    /// The deadline of the run passed.
    DeadlineExceeded,
    /// The run was cancelled by its owner.
    Cancelled,
    /// The run has used up its budget.
    BudgetExhausted,
    /// Stored data is damaged; the message names the file.
    Corrupt,
    /// The index was made with another embedding model or format.
    Mismatch,
    /// The disk, memory or a fixed limit is full.
    ResourceExhausted,
    /// This implementation does not offer the requested capability.
    Unsupported,
    /// A defect in agentkit or in a library under it.
    Internal,
}

/// An error with a kind, a message that says what was attempted, and its cause.
///
/// Messages are lower case without a full stop and never repeat their source;
/// print the chain with [`Error::chain`] to see everything.
///
/// # Examples
/// ```
/// use agentkit_core::Error;
///
/// let error = Error::invalid_input("top_k must be between 1 and 1000, got 0");
/// assert!(error.is_invalid_input());
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of `kind` that says what was attempted.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), retry_after: None, source: None }))
    }

    /// An [`ErrorKind::InvalidInput`] error.
    #[must_use]
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// An [`ErrorKind::NotFound`] error.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// An [`ErrorKind::Corrupt`] error; the message must name the damaged file.
    #[must_use]
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// An [`ErrorKind::Internal`] error.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Wraps an operating system error, saying what was attempted.
    ///
    /// A full disk or quota becomes [`ErrorKind::ResourceExhausted`], a missing file
    /// [`ErrorKind::NotFound`], anything else [`ErrorKind::Unavailable`].
    #[must_use]
    pub fn io(attempt: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory => ErrorKind::ResourceExhausted,
            Io::NotFound => ErrorKind::NotFound,
            Io::InvalidInput => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, attempt).with_source(source)
    }

    /// Keeps `source` as the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// States how long an upstream service asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// The category of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without its causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How long the upstream service asked to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later without any change by the caller.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Overloaded)
    }

    /// Whether a limit of this process turned the call away before any work was done for it.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.kind() == ErrorKind::Overloaded
    }

    /// Whether an upstream service asked to slow down.
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.kind() == ErrorKind::RateLimited
    }

    /// Whether the caller's input has to change.
    #[must_use]
    pub fn is_invalid_input(&self) -> bool {
        self.kind() == ErrorKind::InvalidInput
    }

    /// Whether the named thing does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether the run ended because its owner, its deadline or its budget stopped it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.kind(), ErrorKind::Cancelled | ErrorKind::DeadlineExceeded | ErrorKind::BudgetExhausted)
    }

    /// The message and all its causes in one line, outermost first.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_cause_once() {
        let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::io("write chunk log 3", io);
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(error.to_string(), "write chunk log 3");
        assert!(error.chain().starts_with("write chunk log 3: "));
    }

    #[test]
    fn only_passing_faults_are_retryable() {
        for kind in [ErrorKind::RateLimited, ErrorKind::Unavailable, ErrorKind::Overloaded] {
            assert!(Error::new(kind, "x").is_retryable());
        }
        for kind in [ErrorKind::InvalidInput, ErrorKind::Corrupt, ErrorKind::Cancelled] {
            assert!(!Error::new(kind, "x").is_retryable());
        }
    }
}
