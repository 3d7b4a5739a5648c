//! Newtypes for the names of things, validated where they enter.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Longest document or session id in bytes.
pub const MAX_ID_BYTES: usize = 512;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts `id` if it is well formed.
            ///
            /// # Errors
            /// Invalid input, naming the rule the id breaks.
            pub fn new(id: impl Into<String>) -> Result<Self> {
                let id = id.into();
                $check($what, &id)?;
                Ok(Self(id))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(id: String) -> Result<Self> {
                Self::new(id)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(id: &str) -> Result<Self> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id! {
    /// Identifies a document within one tenant's collection: 1 to 512 bytes of UTF-8 without control characters.
    DocumentId, "document id", check_text
}
text_id! {
    /// Identifies a chunk within one tenant's collection; derived from its document and content, never from time or chance.
    ChunkId, "chunk id", check_chunk
}
text_id! {
    /// Identifies a conversation within one tenant: 1 to 512 bytes of UTF-8 without control characters.
    SessionId, "session id", check_text
}
text_id! {
    /// Identifies a run of an agent within one tenant: 1 to 512 bytes of UTF-8 without control characters.
    RunId, "run id", check_text
}
text_id! {
    /// Names a tenant: 1 to 64 letters, digits, `.`, `_` or `-`, starting with a letter or digit.
    TenantId, "tenant id", check_name
}
text_id! {
    /// Names a collection of documents within a tenant, by the same rule as [`TenantId`].
    CollectionName, "collection name", check_name
}

fn check_text(what: &str, id: &str) -> Result<()> {
    check_bounded(what, id, MAX_ID_BYTES)
}

/// A chunk id is its document's id and a short hash, so it may be a little longer.
fn check_chunk(what: &str, id: &str) -> Result<()> {
    check_bounded(what, id, MAX_ID_BYTES + 64)
}

fn check_bounded(what: &str, id: &str, limit: usize) -> Result<()> {
    if id.is_empty() {
        return Err(Error::invalid_input(format!("{what} must not be empty")));
    }
    if id.len() > limit {
        return Err(Error::invalid_input(format!("{what} must be at most {limit} bytes, got {}", id.len())));
    }
    if id.chars().any(char::is_control) {
        return Err(Error::invalid_input(format!("{what} must not contain control characters: {id:?}")));
    }
    Ok(())
}

fn check_name(what: &str, id: &str) -> Result<()> {
    let starts_well = id.starts_with(|c: char| c.is_ascii_alphanumeric());
    let well_formed = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if starts_well && well_formed && id.len() <= 64 {
        return Ok(());
    }
    Err(Error::invalid_input(format!(
        "{what} must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit: {id:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "-a", "a\0b", "ä", &"a".repeat(65)] {
            assert!(TenantId::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(TenantId::new("acme-1.eu_west").is_ok());
    }

    #[test]
    fn document_ids_take_paths_and_unicode_but_no_control_characters() {
        assert!(DocumentId::new("docs/größe.md#intro").is_ok());
        assert!(DocumentId::new("a\nb").is_err());
        assert!(DocumentId::new("x".repeat(MAX_ID_BYTES + 1)).is_err());
        assert!(serde_json::from_str::<DocumentId>("\"\"").is_err());
    }
}
