//! The lock that lets one process at a time install a model.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use agentkit_core::{Error, Result, RunContext};

use super::progress::Progress;

/// How often a waiting process looks again; file locks cannot be awaited.
const POLL: Duration = Duration::from_millis(100);

/// Waits for the lock on `path`; dropping the file, or the death of the process, releases it.
pub(super) async fn acquire(path: &Path, progress: &dyn Progress, ctx: &RunContext) -> Result<File> {
    let failed = |error| Error::io(format!("lock {}", path.display()), error);
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                progress.step("waiting for another process that fetches the same model", 0, None);
                let wait = async {
                    tokio::time::sleep(POLL).await;
                    Ok(())
                };
                ctx.run(wait).await?;
            }
        }
    }
}
