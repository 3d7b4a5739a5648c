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
//! | `audit_retention_days` | `AGENTKIT_AUDIT_RETENTION_DAYS` | how long audit records are kept, 90 |
//! | `max_connections` | `AGENTKIT_MAX_CONNECTIONS` | connections open at once, 10,000 |
//! | `header_timeout_seconds` | `AGENTKIT_HEADER_TIMEOUT_SECONDS` | longest wait for the head of a request, 20 |
//! | `write_timeout_seconds` | `AGENTKIT_WRITE_TIMEOUT_SECONDS` | longest wait for a client that does not read, 30 |
//! | `kept_runs` | `AGENTKIT_KEPT_RUNS` | resumable runs of a tenant that are kept at once, 64 |
//! | `kept_run_seconds` | `AGENTKIT_KEPT_RUN_SECONDS` | how long one is kept after its end, 300 |
//! | `max_sockets` | `AGENTKIT_MAX_SOCKETS` | `WebSockets` open at once, 10,000 |
//! | `socket_idle_seconds` | `AGENTKIT_SOCKET_IDLE_SECONDS` | how long one may be open with nothing asked, 600 |
//! | `rate.user_requests_per_minute` | `AGENTKIT_RATE__USER_REQUESTS_PER_MINUTE` | requests of one user |
//! | `rate.tenant_requests_per_minute` | `AGENTKIT_RATE__TENANT_REQUESTS_PER_MINUTE` | requests of a tenant |
//! | `rate.user_tokens_per_day` | `AGENTKIT_RATE__USER_TOKENS_PER_DAY` | model tokens of one user |
//! | `rate.tenant_tokens_per_day` | `AGENTKIT_RATE__TENANT_TOKENS_PER_DAY` | model tokens of a tenant |
//! | `oidc.issuer` | `AGENTKIT_OIDC__ISSUER` | an `OpenID` Connect provider whose tokens count |
//! | `oidc.audience` | `AGENTKIT_OIDC__AUDIENCE` | whom its tokens must be meant for |
//! | `oidc.tenant_claim` | `AGENTKIT_OIDC__TENANT_CLAIM` | the claim that names the tenant, `tenant_id` |
//! | `oidc.role_claim` | `AGENTKIT_OIDC__ROLE_CLAIM` | the claim that names the roles, `roles` |
//! | `oidc.algorithms` | `AGENTKIT_OIDC__ALGORITHMS` | what its tokens may be signed by, `["RS256", "ES256"]` |
//! | `oidc.client_id` | `AGENTKIT_OIDC__CLIENT_ID` | what it calls the page, as a client without a secret; people sign in there with it |
//! | `oidc.scope` | `AGENTKIT_OIDC__SCOPE` | what the page asks it for, `openid` |
//! | `oidc.refresh_seconds` | `AGENTKIT_OIDC__REFRESH_SECONDS` | how long a key may count after the provider took it back, 60 |
//! | `chat.kind` | `AGENTKIT_CHAT__KIND` | `openai` for such a service, or `local` for a model in this process |
//! | `chat.base_url` | `AGENTKIT_CHAT__BASE_URL` | an OpenAI-compatible service that writes the answers |
//! | `chat.model` | `AGENTKIT_CHAT__MODEL` | its model; of a local one a GGUF file, a folder that holds one, or `smollm2` |
//! | `chat.api_key` | `AGENTKIT_CHAT__API_KEY` | its key, if it needs one |
//! | `chat.api_key_file` | `AGENTKIT_CHAT__API_KEY_FILE` | a file that holds the key |
//! | `chat.context_tokens` | `AGENTKIT_CHAT__CONTEXT_TOKENS` | most tokens of a request and its answer, 8192, or 4096 for a local model |
//! | `chat.parallel` | `AGENTKIT_CHAT__PARALLEL` | answers that a local model makes at the same time, 1 |
//! | `metrics.listen` | `AGENTKIT_METRICS__LISTEN` | an address of its own for metrics and health |
//! | `metrics.tenants` | `AGENTKIT_METRICS__TENANTS` | tenants whose requests are counted each |
//! | `log.format` | `AGENTKIT_LOG__FORMAT` | `text`, or `json` for an object a line |
//! | `log.level` | `AGENTKIT_LOG__LEVEL` | what is logged, unless `--log` says so |
//! | `otlp.endpoint` | `AGENTKIT_OTLP__ENDPOINT` | a collector that traces are sent to |
//! | `otlp.service` | `AGENTKIT_OTLP__SERVICE` | what the service is called in traces, `agentkit-server` |
//! | `otlp.sample` | `AGENTKIT_OTLP__SAMPLE` | share of the traces that are sent, 0 to 1 |
//! | `otlp.headers` | `AGENTKIT_OTLP__HEADERS` | headers for the collector, `name=value,other=value` |
//! | `otlp.headers_file` | `AGENTKIT_OTLP__HEADERS_FILE` | a file that holds them |
//!
//! More variables stand for flags: `AGENTKIT_CONFIG` for `--config`, `AGENTKIT_LOG` for `--log`, `AGENTKIT_API_KEY` for
//! `--api-key`. Models are kept
//! in `AGENTKIT_CACHE_DIR`.

mod chat;
mod reader;
mod secret;
mod telemetry;
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
pub use self::telemetry::{LogFormat, OtlpConfig, TelemetryConfig};
use crate::http::{Limits, Rates};
use crate::identity::{Oidc, OidcOptions};

/// What every variable of the environment begins with.
const PREFIX: &str = "AGENTKIT_";
const USER_REQUESTS: &str = "rate.user_requests_per_minute";
const TENANT_REQUESTS: &str = "rate.tenant_requests_per_minute";
const USER_TOKENS: &str = "rate.user_tokens_per_day";
const TENANT_TOKENS: &str = "rate.tenant_tokens_per_day";
/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;
/// The variable of the one value that must be taken as it stands, even if it looks like a number.
const API_KEY: &str = "AGENTKIT_CHAT__API_KEY";

/// Every setting, checked.
#[derive(Debug, Clone, PartialEq)]
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
    /// A provider whose tokens count as credentials.
    pub oidc: Option<OidcOptions>,
    /// What the service tells about itself.
    pub telemetry: TelemetryConfig,
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
            oidc: None,
            telemetry: TelemetryConfig::default(),
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
            oidc: oidc(&mut reader),
            telemetry: telemetry::read(&mut reader),
        };
        reader.finish()?;
        Ok(config)
    }

    /// Refuses to serve the whole network where nobody is asked for a credential.
    ///
    /// # Errors
    /// Invalid input, if the address is not of the loopback interface.
    pub fn check_loopback(&self) -> Result<()> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        Err(Error::invalid_input(format!(
            "without credentials {} would give everybody on the network all documents; \
             listen on 127.0.0.1, or use serve without --insecure-dev",
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
            ("audit_retention_days", (self.limits.audit_retention.as_secs() / DAY).into()),
        ];
        entries.extend(self.wire_entries());
        entries.extend(self.kept_entries());
        entries.extend(self.model.as_deref().map(|model| ("model", folder(model))));
        entries.extend(self.rate_entries());
        entries.extend(self.telemetry.entries());
        entries.extend(self.oidc.iter().flat_map(oidc_entries));
        entries.extend(self.chat.iter().flat_map(ChatConfig::entries));
        entries
    }
}

impl Config {
    fn wire_entries(&self) -> [(&'static str, serde_json::Value); 3] {
        let Limits { max_connections, header_timeout, write_timeout, .. } = self.limits;
        [
            ("max_connections", max_connections.into()),
            ("header_timeout_seconds", header_timeout.as_secs().into()),
            ("write_timeout_seconds", write_timeout.as_secs().into()),
        ]
    }

    fn kept_entries(&self) -> [(&'static str, serde_json::Value); 4] {
        let Limits { kept_runs, kept_run_time, max_sockets, socket_idle, .. } = self.limits;
        [
            ("kept_runs", kept_runs.into()),
            ("kept_run_seconds", kept_run_time.as_secs().into()),
            ("max_sockets", max_sockets.into()),
            ("socket_idle_seconds", socket_idle.as_secs().into()),
        ]
    }

    fn rate_entries(&self) -> impl Iterator<Item = (&'static str, serde_json::Value)> {
        let rates = self.limits.rates;
        let entries = [
            (USER_REQUESTS, rates.user_requests_per_minute),
            (TENANT_REQUESTS, rates.tenant_requests_per_minute),
            (USER_TOKENS, rates.user_tokens_per_day),
            (TENANT_TOKENS, rates.tenant_tokens_per_day),
        ];
        entries.into_iter().filter_map(|(key, amount)| Some((key, amount?.into())))
    }
}

fn oidc_entries(oidc: &OidcOptions) -> Vec<(&'static str, serde_json::Value)> {
    let client_id = oidc.client_id.clone().map(|id| ("oidc.client_id", id.into()));
    let others = [
        ("oidc.issuer", oidc.issuer.clone().into()),
        ("oidc.audience", oidc.audience.clone().into()),
        ("oidc.tenant_claim", oidc.tenant_claim.clone().into()),
        ("oidc.role_claim", oidc.role_claim.clone().into()),
        ("oidc.algorithms", oidc.algorithms.clone().into()),
        ("oidc.refresh_seconds", oidc.refresh.as_secs().into()),
        ("oidc.scope", oidc.scope.clone().into()),
    ];
    others.into_iter().chain(client_id).collect()
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
    if let Some(days) = reader.within("audit_retention_days", 1, 36_500) {
        limits.audit_retention = Duration::from_secs(days * DAY);
    }
    if let Some(most) = reader.within("max_connections", 1, 1_000_000) {
        limits.max_connections = usize::try_from(most).unwrap_or(usize::MAX);
    }
    limits.header_timeout = seconds(reader, "header_timeout_seconds", 3600).unwrap_or(limits.header_timeout);
    limits.write_timeout = seconds(reader, "write_timeout_seconds", 3600).unwrap_or(limits.write_timeout);
    kept(reader, &mut limits);
    limits.rates = rates(reader);
    limits
}

/// The limits of what outlives a request.
fn kept(reader: &mut Reader, limits: &mut Limits) {
    if let Some(most) = reader.within("kept_runs", 1, 256) {
        limits.kept_runs = usize::try_from(most).unwrap_or(usize::MAX);
    }
    if let Some(seconds) = reader.within("kept_run_seconds", 1, DAY) {
        limits.kept_run_time = Duration::from_secs(seconds);
    }
    if let Some(most) = reader.within("max_sockets", 1, 1_000_000) {
        limits.max_sockets = usize::try_from(most).unwrap_or(usize::MAX);
    }
    if let Some(seconds) = reader.within("socket_idle_seconds", 1, DAY) {
        limits.socket_idle = Duration::from_secs(seconds);
    }
}

fn rates(reader: &mut Reader) -> Rates {
    let mut amount = |key| reader.within(key, 1, 1_000_000_000).and_then(|amount| u32::try_from(amount).ok());
    Rates {
        user_requests_per_minute: amount(USER_REQUESTS),
        tenant_requests_per_minute: amount(TENANT_REQUESTS),
        user_tokens_per_day: amount(USER_TOKENS),
        tenant_tokens_per_day: amount(TENANT_TOKENS),
    }
}

fn oidc(reader: &mut Reader) -> Option<OidcOptions> {
    let issuer = reader.parsed("oidc.issuer", parse_url);
    let audience: Option<String> = reader.value("oidc.audience");
    let (tenant_claim, role_claim) = (reader.value("oidc.tenant_claim"), reader.value("oidc.role_claim"));
    let algorithms = reader.value("oidc.algorithms");
    let (client_id, scope): (Option<String>, Option<String>) =
        (reader.value("oidc.client_id"), reader.value("oidc.scope"));
    let refresh = reader.within("oidc.refresh_seconds", 1, DAY).map(Duration::from_secs);
    let (Some(issuer), Some(audience)) = (issuer, audience) else {
        if reader.has("oidc") {
            reader.problem("oidc: a provider needs both oidc.issuer and oidc.audience");
        }
        return None;
    };
    let mut options = OidcOptions::new(issuer, audience);
    options.tenant_claim = tenant_claim.unwrap_or(options.tenant_claim);
    options.role_claim = role_claim.unwrap_or(options.role_claim);
    options.algorithms = algorithms.unwrap_or(options.algorithms);
    options.refresh = refresh.unwrap_or(options.refresh);
    options.client_id = client_id.filter(|id| !id.is_empty());
    options.scope = scope.unwrap_or(options.scope);
    if let Err(error) = Oidc::new(options.clone()) {
        reader.problem(format!("oidc: {}", error.message()));
    }
    Some(options)
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
