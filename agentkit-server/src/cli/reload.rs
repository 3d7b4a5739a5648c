//! `SIGHUP`: the configuration is read again; what can change while the service runs does, and what cannot is named.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agentkit_core::Result;
use serde_json::Value;

use super::signals::Reloads;
use crate::config::{ChatConfig, Config, Flags, HostedChat};
use crate::engine;
use crate::renewable::Renewable;
use crate::telemetry::LogLevel;

/// Settings that take effect at once.
const AT_ONCE: [&str; 2] = ["chat.api_key", "log.level"];

/// Where the settings come from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: Option<PathBuf>,
    pub(super) flags: Flags,
    /// The filter of the command line; it overrides the configuration's.
    pub(super) filter: Option<String>,
    /// The filter if there is no other.
    pub(super) usual: &'static str,
}

impl Source {
    pub(super) fn config(&self) -> Result<Config> {
        Config::load(self.file.as_deref(), &self.flags)
    }

    /// What is to be logged.
    pub(super) fn filter<'s>(&'s self, config: &'s Config) -> &'s str {
        self.filter.as_deref().or(config.telemetry.log_level.as_deref()).unwrap_or(self.usual)
    }
}

/// What runs, and what of it can be changed.
pub(super) struct Running {
    pub(super) source: Source,
    pub(super) config: Config,
    pub(super) log: LogLevel,
    pub(super) chat: Arc<Renewable>,
}

impl Running {
    /// Reads the configuration again whenever the process is told to.
    pub(super) async fn follow(mut self, mut reloads: Reloads) {
        while reloads.next().await {
            if let Err(error) = self.reload() {
                tracing::error!(
                    error = error.chain(),
                    "the configuration is not used; everything stays as it was"
                );
            }
        }
    }

    fn reload(&mut self) -> Result<()> {
        let next = self.source.config()?;
        let mut changed = Vec::new();
        if self.log.change(self.source.filter(&next))? {
            changed.push("log.level");
        }
        if let Some(chat) = new_key(&self.config, &next) {
            self.chat.renew(engine::hosted(chat)?);
            self.config.chat.clone_from(&next.chat);
            changed.push("chat.api_key");
        }
        tracing::info!(changed = changed.join(", "), "the configuration was read again");
        let later = differing(&self.config, &next);
        if !later.is_empty() {
            tracing::warn!(settings = later.join(", "), "these settings take effect at the next start");
        }
        Ok(())
    }
}

/// The hosted model of `next`, if it is that of `now` with another key.
fn new_key<'n>(now: &Config, next: &'n Config) -> Option<&'n HostedChat> {
    let (Some(ChatConfig::Hosted(now)), Some(ChatConfig::Hosted(next))) = (&now.chat, &next.chat) else {
        return None;
    };
    let same = (&now.base_url, &now.model) == (&next.base_url, &next.model);
    (same && now.api_key != next.api_key).then_some(next)
}

/// The settings that differ and are not taken over at once.
fn differing(now: &Config, next: &Config) -> Vec<&'static str> {
    let entries = |config: &Config| config.entries().into_iter().collect::<BTreeMap<&'static str, Value>>();
    let (before, after) = (entries(now), entries(next));
    let mut keys: Vec<_> = before.keys().chain(after.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| before.get(key) != after.get(key) && !AT_ONCE.contains(key));
    // Secrets are redacted among the entries.
    if keys.is_empty() && now.telemetry.otlp != next.telemetry.otlp {
        keys.push("otlp.headers");
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_start_is_named_and_what_does_not_is_not() {
        let now = Config::default();
        let mut next = now.clone();
        next.listen.set_port(9);
        next.limits.max_connections = 1;
        next.telemetry.log_level = Some("debug".into());
        assert_eq!(differing(&now, &next), ["listen", "max_connections"]);
        assert_eq!(differing(&now, &now), [""; 0]);
    }
}
