//! The configuration: defaults, then a TOML file, then `AGENTKIT_…` variables, then flags.
//!
//! | key | variable | meaning |
//! |---|---|---|
//! | `listen` | `AGENTKIT_LISTEN` | address to serve on, `127.0.0.1:8080` |
//! | `data_dir` | `AGENTKIT_DATA_DIR` | folder of the index and the conversations, `./agentkit-data` |
//! | `embedder` | `AGENTKIT_EMBEDDER` | `minilm`, or `hashing` for tests |
//! | `model` | `AGENTKIT_MODEL` | folder of an embedding model of the BERT family, instead of MiniLM |
//! | `max_concurrent_requests` | `AGENTKIT_MAX_CONCURRENT_REQUESTS` | requests worked on at once, 512 |
//! | `request_timeout_seconds` | `AGENTKIT_REQUEST_TIMEOUT_SECONDS` | longest request, 60 |
//! | `shutdown_grace_seconds` | `AGENTKIT_SHUTDOWN_GRACE_SECONDS` | time to finish when stopping, 30 |
//! | `chat.kind` | `AGENTKIT_CHAT__KIND` | `openai` for such a service, or `local` for a model in this process |
//! | `chat.base_url` | `AGENTKIT_CHAT__BASE_URL` | an OpenAI-compatible service that writes the answers |
//! | `chat.model` | `AGENTKIT_CHAT__MODEL` | its model; of a local one a GGUF file, a folder that holds one, or `smollm2` |
//! | `chat.api_key` | `AGENTKIT_CHAT__API_KEY` | its key, if it needs one |
//! | `chat.context_tokens` | `AGENTKIT_CHAT__CONTEXT_TOKENS` | most tokens of a conversation with a local model, 4096 |
//! | `chat.parallel` | `AGENTKIT_CHAT__PARALLEL` | answers that a local model makes at the same time, 1 |
//!
//! Two more variables stand for flags: `AGENTKIT_CONFIG` for `--config`, `AGENTKIT_LOG` for `--log`. Models are kept
//! in `AGENTKIT_CACHE_DIR`.

mod chat;
mod reader;
mod secret;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkit_core::{Error, Result};
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};

pub use self::chat::{ChatConfig, HostedChat, LocalChatConfig};
use self::reader::Reader;
pub use self::secret::Secret;
use crate::http::Limits;

/// What every variable of the environment begins with.
const PREFIX: &str = "AGENTKIT_";
/// The variable of the one value that must be taken as it stands, even if it looks like a number.
const API_KEY: &str = "AGENTKIT_CHAT__API_KEY";

/// Every setting, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Address to serve on.
    pub listen: SocketAddr,
    /// Folder of the index and the conversations.
    pub data_dir: PathBuf,
    /// Which embedding model to use.
    pub embedder: EmbedderChoice,
    /// Folder of an embedding model.
    pub model: Option<PathBuf>,
    /// How much the service takes on.
    pub limits: Limits,
    /// The chat model; answers are extractive without one.
    pub chat: Option<ChatConfig>,
}

/// An embedding model by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EmbedderChoice {
    /// all-MiniLM-L6-v2, or the model in the folder of `model`.
    #[default]
    Minilm,
    /// The same in eight-bit integers: several times faster, with slightly different vectors.
    #[serde(rename = "minilm-int8")]
    MinilmInt8,
    /// Hashes of words: instant and repeatable, but without meaning; for tests.
    Hashing,
}

/// Settings given as flags; they override everything else.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Flags {
    /// See [`Config::listen`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// See [`Config::data_dir`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// See [`Config::embedder`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<EmbedderChoice>,
    /// See [`Config::model`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            data_dir: "./agentkit-data".into(),
            embedder: EmbedderChoice::default(),
            model: None,
            limits: Limits::default(),
            chat: None,
        }
    }
}

impl Config {
    /// Reads all layers and checks every setting.
    ///
    /// # Errors
    /// Invalid input, with every problem on a line of its own.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            // A file that was named must be there; figment alone would pass over a missing one.
            std::fs::metadata(file)
                .map_err(|error| Error::io(format!("read the configuration {}", file.display()), error))?;
            figment = figment.merge(Toml::file_exact(file));
        }
        figment =
            figment.merge(Env::prefixed(PREFIX).filter(|key| !reader::is_foreign(key.as_str())).split("__"));
        if let Some(key) = Env::var(API_KEY) {
            figment = figment.merge(("chat.api_key", key));
        }
        Self::extract(figment.merge(Serialized::defaults(flags)))
    }

    fn extract(figment: Figment) -> Result<Self> {
        let defaults = Self::default();
        let mut reader = Reader::new(figment);
        let config = Self {
            listen: reader.parsed("listen", parse_listen).unwrap_or(defaults.listen),
            data_dir: reader.parsed("data_dir", parse_folder).unwrap_or(defaults.data_dir),
            embedder: reader.value("embedder").unwrap_or_default(),
            model: reader.parsed("model", parse_folder),
            limits: limits(&mut reader),
            chat: chat::read(&mut reader),
        };
        reader.finish()?;
        Ok(config)
    }

    /// Refuses to serve the whole network while nothing asks who is there.
    ///
    /// # Errors
    /// Invalid input, if the address is not of the loopback interface.
    pub fn check_listen(&self) -> Result<()> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        Err(Error::invalid_input(format!(
            "no authentication is configured, so {} would give everybody on the network all documents; \
             listen on 127.0.0.1 and put a proxy that authenticates in front",
            self.listen
        )))
    }

    /// The settings as pairs of key and value, secrets redacted; what is not set is absent.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, serde_json::Value)> {
        let folder = |path: &Path| serde_json::Value::from(path.display().to_string());
        let mut entries = vec![
            ("listen", self.listen.to_string().into()),
            ("data_dir", folder(&self.data_dir)),
            ("embedder", serde_json::json!(self.embedder)),
            ("max_concurrent_requests", self.limits.max_concurrent_requests.into()),
            ("request_timeout_seconds", self.limits.request_timeout.as_secs().into()),
            ("shutdown_grace_seconds", self.limits.shutdown_grace.as_secs().into()),
        ];
        entries.extend(self.model.as_deref().map(|model| ("model", folder(model))));
        entries.extend(self.chat.iter().flat_map(ChatConfig::entries));
        entries
    }
}

fn limits(reader: &mut Reader) -> Limits {
    let mut limits = Limits::default();
    let seconds = |reader: &mut Reader, key, most| reader.within(key, 1, most).map(Duration::from_secs);
    if let Some(most) = reader.within("max_concurrent_requests", 1, 100_000) {
        limits.max_concurrent_requests = usize::try_from(most).unwrap_or(usize::MAX);
    }
    limits.request_timeout =
        seconds(reader, "request_timeout_seconds", 3600).unwrap_or(limits.request_timeout);
    limits.shutdown_grace = seconds(reader, "shutdown_grace_seconds", 3600).unwrap_or(limits.shutdown_grace);
    limits
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let parsed = numeric.as_deref().unwrap_or(text).parse();
    parsed.map_err(|_| format!("{text:?} is not an address with a port, such as 127.0.0.1:8080"))
}

fn parse_folder(text: &str) -> Result<PathBuf, String> {
    if text.trim().is_empty() { Err("the path is empty".into()) } else { Ok(text.into()) }
}

fn parse_url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not a URL such as https://api.example.com/v1")),
    }
}
