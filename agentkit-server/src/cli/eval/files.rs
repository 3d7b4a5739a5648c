//! The files of `eval`: rankings, reports and baselines.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result};
use agentkit_rag::eval::{Report, Run, RunReport};

use super::GATED;
use super::arguments::Files;

/// Writes every file that was asked for.
pub(super) fn write(files: &Files, report: &Report) -> Result<()> {
    for path in &files.report {
        let text = rendered(path, report)?;
        fs::write(path, text)
            .map_err(|error| Error::io(format!("write the report {}", path.display()), error))?;
    }
    files.run.as_deref().map_or(Ok(()), |path| write_runs(path, report))
}

fn rendered(path: &Path, report: &Report) -> Result<String> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::to_string(report)
            .map_err(|error| Error::internal("write the report as JSON").with_source(error)),
        Some("md") => Ok(report.to_markdown()),
        Some("svg") => Ok(report.to_svg()),
        _ => Err(Error::invalid_input(format!(
            "{} is no report: its name must end in .json, .md or .svg",
            path.display()
        ))),
    }
}

fn write_runs(file: &Path, report: &Report) -> Result<()> {
    let only = report.runs().len() == 1;
    for run in report.runs() {
        let path = if only || run.name == GATED { file.to_owned() } else { beside(file, &run.name) };
        let failed = |error| Error::io(format!("write the run {}", path.display()), error);
        let mut out = BufWriter::new(File::create(&path).map_err(failed)?);
        run.run.write_trec(&format!("agentkit-{}", one_word(&run.name)), &mut out)?;
        out.flush().map_err(failed)?;
    }
    Ok(())
}

fn beside(file: &Path, run: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(format!(".{}", one_word(run)));
    name.into()
}

/// A run's name as part of a file's.
fn one_word(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.=".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

/// Reads rankings in TREC form.
pub(super) fn read_run(path: &Path) -> Result<Run> {
    let failed = |error| Error::io(format!("open the run {}", path.display()), error);
    let run = Run::read_trec(BufReader::new(File::open(path).map_err(failed)?));
    run.map_err(|error| Error::new(error.kind(), format!("read {}", path.display())).with_source(error))
}

/// Reads a report, or rankings that are scored as the gated run.
pub(super) fn read_baseline(path: &Path, scored: impl FnOnce(Run) -> RunReport) -> Result<Report> {
    if path.extension().is_none_or(|extension| extension != "json") {
        let mut report = Report::default();
        report.add(scored(read_run(path)?))?;
        return Ok(report);
    }
    let text = fs::read_to_string(path)
        .map_err(|error| Error::io(format!("read the baseline {}", path.display()), error))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::invalid_input(format!("{} is no report of eval", path.display())).with_source(error)
    })
}
