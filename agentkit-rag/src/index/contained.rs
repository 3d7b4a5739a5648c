//! Panics of the text index, made errors.
//!
//! Every file is verified by its checksum before it is read. Files that are sound one by one but do not belong together, as
//! after a copy by hand under a wrong name, still make Tantivy panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use agentkit_core::{Error, Result};

/// What `work` on the files in `folder` gives; a panic is an error of kind corrupt that names the folder.
///
/// After a panic, whatever the work was changing must be given up.
pub(super) fn contained<T>(folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let at = folder.display();
        Err(Error::corrupt(format!(
            "the files in {at} do not belong together; restore a backup, or delete the folder and ingest again"
        )))
    })
}
