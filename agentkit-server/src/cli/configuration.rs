//! `config show` and `config check`.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::Session;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Print every setting in force, as a configuration file; secrets are redacted
    Show,
    /// Check every setting; all problems are reported at once
    Check,
}

pub(super) fn run(session: &Session, action: &Action) {
    let entries = session.config.entries();
    match action {
        // Whatever else is wrong was already refused when the configuration was read.
        Action::Check => {
            session.out.line("the configuration is valid");
            session.out.object(&serde_json::json!({"valid": true}));
        }
        Action::Show => {
            session.out.part(&toml(&entries));
            let object: Map<String, Value> =
                entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            session.out.object(&object);
        }
    }
}

/// The settings as TOML, whose texts and numbers are written as in JSON.
fn toml(entries: &[(&'static str, Value)]) -> String {
    let mut text = String::new();
    let mut section = "";
    for (key, value) in entries {
        let (table, name) = key.split_once('.').unwrap_or(("", key));
        if table != section {
            section = table;
            text.extend(["\n[", table, "]\n"]);
        }
        text.extend([name, " = ", &value.to_string(), "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format as _, Toml};

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_shown_can_be_read_again() {
        let mut entries = Config::default().entries();
        entries.push(("chat.base_url", "http://x/\"quoted\"".into()));
        entries.push(("chat.model", "m".into()));
        let read: Value = Figment::from(Toml::string(&toml(&entries))).extract().unwrap();
        assert_eq!(read["listen"], "127.0.0.1:8080");
        assert_eq!(read["chat"]["base_url"], "http://x/\"quoted\"");
    }
}
