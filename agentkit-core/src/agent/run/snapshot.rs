//! A run as JSON with a version, and back.

use serde::{Deserialize, Serialize};

use super::history::validate_history;
use super::{AgentRun, Phase, RunSettings, RunTotals};
use crate::error::{Error, ErrorKind, Result};

/// The version this build writes; it reads no other.
const VERSION: u64 = 1;

#[derive(Serialize)]
struct Snapshot<'r> {
    version: u64,
    settings: &'r RunSettings,
    began: usize,
    totals: &'r RunTotals,
    phase: &'r Phase,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct Stored {
    settings: RunSettings,
    began: usize,
    totals: RunTotals,
    phase: Phase,
}

impl AgentRun {
    /// The run as JSON, from which [`AgentRun::from_json`] makes it again. The form is numbered by its member
    /// `version` and documented nowhere else: it is no interface.
    ///
    /// # Errors
    /// Internal, if a value of the conversation has no JSON form.
    pub fn to_json(&self) -> Result<String> {
        let failed = |error| Error::internal("write a run as JSON").with_source(error);
        let Self { settings, began, totals, phase } = self;
        let snapshot = Snapshot { version: VERSION, settings, began: *began, totals, phase };
        serde_json::to_string(&snapshot).map_err(failed)
    }

    /// The run that `json` was made of. Apply [`RunInput::Resumed`](super::RunInput::Resumed) before going on with
    /// it in another process.
    ///
    /// # Errors
    /// Mismatch, naming both versions, if the snapshot is of another version; corrupt, if it is none, or its
    /// history is not valid.
    pub fn from_json(json: &str) -> Result<Self> {
        let damaged = |error| Error::corrupt("this is no snapshot of a run").with_source(error);
        let Version { version } = serde_json::from_str(json).map_err(damaged)?;
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "the snapshot is of version {version} and this build reads version {VERSION}; read it with the build that wrote it"
                ),
            ));
        }
        let Stored { settings, began, totals, phase } = serde_json::from_str(json).map_err(damaged)?;
        let run = Self { settings, began, totals, phase };
        run.check()?;
        Ok(run)
    }

    /// A snapshot may come from anywhere.
    fn check(&self) -> Result<()> {
        let invalid =
            |error: Error| Error::corrupt("the snapshot of a run holds no valid history").with_source(error);
        let mut messages = self.messages().to_vec();
        if self.began == 0 || self.began > messages.len() {
            return Err(Error::corrupt("the snapshot of a run does not say where the run began"));
        }
        if let Phase::Tools(batch) = &self.phase {
            messages.extend(batch.clone().messages());
            let said: Vec<_> = super::history::calls(std::slice::from_ref(&batch.said)).collect();
            if batch.is_settled() || !batch.calls.iter().map(|call| &call.call).eq(said) {
                return Err(Error::corrupt("the snapshot of a run holds other calls than the model made"));
            }
        }
        validate_history(&messages).map_err(invalid)
    }
}
