//! Lists in pages: how long a page is, and where the next begins.

use agentkit_core::{Error, Result};

/// Entries of a page unless told otherwise.
const LENGTH: usize = 100;
/// Most entries of a page.
pub(super) const MAX_LENGTH: usize = 1000;

/// The length of a page for which `limit` is asked.
pub(super) fn length(limit: Option<usize>) -> Result<usize> {
    let limit = limit.unwrap_or(LENGTH);
    if (1..=MAX_LENGTH).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::invalid_input(format!("limit must be between 1 and {MAX_LENGTH}, got {limit}")))
}

/// Cuts what was found to a page, for which one more than its length was looked for; gives the mark of its last entry if there
/// is a next page.
pub(super) fn cut<T, M>(found: &mut Vec<T>, length: usize, mark: impl FnOnce(&T) -> M) -> Option<M> {
    let more = found.len() > length;
    found.truncate(length);
    found.last().filter(|_| more).map(mark)
}
