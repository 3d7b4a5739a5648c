//! `backup`, `restore` and `verify`: copies of a data directory, and proof that one is sound.

use std::path::{Path, PathBuf};

use agentkit_core::{Error, ErrorKind, Result};
use agentkit_rag::BackupReport;
use agentkit_rag::sqlite::SqliteMemory;
use clap::Args;
use indicatif::HumanBytes;

use super::{Session, signals};
use crate::engine::{INDEX, SESSIONS};

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// Folder to write the backup to; empty or missing
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// Folder with a backup
    #[arg(value_name = "DIR")]
    from: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// Data directory or backup to verify [default: the data directory]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) async fn backup(session: Session, arguments: BackupArguments) -> Result<()> {
    copy(&session, &session.config.data_dir, &arguments.to, "backed up").await
}

pub(super) async fn restore(session: Session, arguments: RestoreArguments) -> Result<()> {
    copy(&session, &arguments.from, &session.config.data_dir, "restored").await
}

pub(super) async fn verify(session: Session, arguments: VerifyArguments) -> Result<()> {
    signals::cancel_when_stopped(&session.ctx);
    let folder = arguments.folder.as_ref().unwrap_or(&session.config.data_dir);
    let report = agentkit_rag::verify(folder.join(INDEX), &session.ctx).await?;
    if exists(&folder.join(SESSIONS)).await? {
        SqliteMemory::verify(&folder.join(SESSIONS)).await?;
    }
    show(&session, &report, "sound", folder);
    Ok(())
}

/// Copies a data directory while others go on using it, and verifies the copy.
async fn copy(session: &Session, from: &Path, to: &Path, done: &str) -> Result<()> {
    signals::cancel_when_stopped(&session.ctx);
    refuse_nesting(from, to)?;
    if exists(&to.join(SESSIONS)).await? {
        let message = format!("{} already holds conversations; name an empty folder", to.display());
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    session.out.note(format_args!("copying and verifying {}", from.display()));
    let report = agentkit_rag::backup(from.join(INDEX), to.join(INDEX), &session.ctx).await?;
    if exists(&from.join(SESSIONS)).await? {
        SqliteMemory::copy(&from.join(SESSIONS), &to.join(SESSIONS)).await?;
    }
    show(session, &report, done, to);
    Ok(())
}

/// A copy within itself would never end.
fn refuse_nesting(from: &Path, to: &Path) -> Result<()> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| Error::io(format!("find {}", path.display()), error))
    };
    if absolute(to)?.starts_with(absolute(from)?) {
        let message = format!("{} is inside of {}; name a folder beside it", to.display(), from.display());
        return Err(Error::invalid_input(message));
    }
    Ok(())
}

async fn exists(path: &Path) -> Result<bool> {
    tokio::fs::try_exists(path)
        .await
        .map_err(|error| Error::io(format!("look for {}", path.display()), error))
}

fn show(session: &Session, report: &BackupReport, done: &str, folder: &Path) {
    let BackupReport { collections, documents, chunks, bytes, .. } = *report;
    session.out.line(format_args!(
        "{done}: {documents} documents, {chunks} chunks, {collections} collections, {} in {}",
        HumanBytes(bytes),
        folder.display()
    ));
    session.out.object(report);
}
