//! Reads settings one by one, so that every problem is found and not only the first.

use std::path::PathBuf;

use agentkit_core::{Error, Result};
use figment::Figment;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::Secret;

/// Longest secret in a file.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The layers of settings, the keys that were asked for, and what is wrong.
pub(super) struct Reader {
    figment: Figment,
    known: Vec<&'static str>,
    problems: Vec<String>,
}

impl Reader {
    pub(super) fn new(figment: Figment) -> Self {
        Self { figment, known: Vec::new(), problems: Vec::new() }
    }

    /// The setting as its type reads it.
    pub(super) fn value<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        match self.figment.extract_inner(key) {
            Ok(value) => Some(value),
            Err(error) => {
                if !error.missing() {
                    self.problems.push(format!("{key}: {}{}", error.kind, self.origin(key)));
                }
                None
            }
        }
    }

    /// The setting as `parse` reads its text.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text: String = self.value(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(format!("{key}: {problem}{}", self.origin(key)));
                None
            }
        }
    }

    /// The setting as a number from `least` to `most`.
    pub(super) fn within(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let number: u64 = self.value(key)?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let problem = format!("{key}: {number} is not between {least} and {most}{}", self.origin(key));
        self.problems.push(problem);
        None
    }

    /// The setting as a secret; no problem with it repeats its value.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        self.known.push(key);
        if let Value::String(_, secret) = self.figment.find_value(key).ok()? {
            return Some(Secret::new(secret));
        }
        self.problems.push(format!("{key}: must be a text{}", self.origin(key)));
        None
    }

    /// The secret that stands under `key`, or in the file that stands under `file_key`.
    pub(super) fn secret_or_file(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        let (secret, file) = (self.secret(key), self.value::<PathBuf>(file_key));
        let Some(file) = file else { return secret };
        if secret.is_some() {
            self.problem(format!("{file_key}: {key} is set as well; set one of them"));
            return secret;
        }
        match std::fs::read_to_string(&file) {
            Ok(text) if text.len() <= MAX_SECRET_BYTES && !text.trim().is_empty() => {
                Some(Secret::new(text.trim().to_owned()))
            }
            Ok(_) => {
                self.problem(format!("{file_key}: {} is empty or too long", file.display()));
                None
            }
            Err(error) => {
                self.problem(format!("{file_key}: {} cannot be read: {error}", file.display()));
                None
            }
        }
    }

    /// Whether anything is set below `section`.
    pub(super) fn has(&self, section: &str) -> bool {
        self.figment.find_value(section).is_ok()
    }

    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// All problems as one error, keys nobody asked for among them.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.figment.extract::<Dict>() {
            // Every read above failed for this reason as well.
            Err(error) => self.problems = error.into_iter().map(|error| error.to_string()).collect(),
            Ok(settings) => self.unknown("", &settings),
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.dedup();
        let list = self.problems.join("\n  ");
        Err(Error::invalid_input(format!("the configuration is not valid:\n  {list}")))
    }

    fn unknown(&mut self, above: &str, settings: &Dict) {
        for (name, value) in settings {
            let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let section = format!("{key}.");
            match value {
                Value::Dict(_, inner) if self.known.iter().any(|known| known.starts_with(&section)) => {
                    self.unknown(&key, inner);
                }
                _ => {
                    let problem = format!("{key}: there is no such setting{}", self.origin(&key));
                    self.problems.push(problem);
                }
            }
        }
    }

    /// Where the setting was made, for messages.
    fn origin(&self, key: &str) -> String {
        let Some(metadata) = self.figment.find_metadata(key) else { return String::new() };
        match &metadata.source {
            Some(source) => format!(" ({} {source})", metadata.name),
            None => format!(" ({})", metadata.name),
        }
    }
}

/// Whether a variable with our prefix is none of the settings: those that the command line, the tests and the
/// model store read themselves, and the links that Kubernetes gives every container of a service called `agentkit`.
pub(super) fn is_foreign(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    matches!(
        name.as_str(),
        "API_KEY"
            | "CONFIG"
            | "LOG"
            | "TEST_OIDC_ISSUER"
            | "CACHE_DIR"
            | "CRASH_ROUNDS"
            | "DATASETS"
            | "DIALOGS"
            | "FAULT_STRIDE"
            | "FUZZ_TARGET"
            | "HISTORY_MINUTES"
            | "LLAMA_SERVER"
            | "MCP_PYTHON"
            | "OPENAI_NODE"
            | "OPENAI_PYTHON"
            | "OPENRESPONSES"
            | "PAGE_MODULES"
            | "PORT"
            | "RUN_KILLS"
            | "SCHEMATHESIS"
    ) || name.starts_with("PORT_")
        || name.contains("_PORT_")
        || name.ends_with("_PORT")
        || name.ends_with("SERVICE_HOST")
        || name.ends_with("SERVICE_PORT")
        || name.contains("SERVICE_PORT_")
}
