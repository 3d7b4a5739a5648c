//! The settings of metrics, logs and traces.

use std::net::SocketAddr;

use agentkit_core::TenantId;
use serde::{Deserialize, Serialize};

use super::Secret;
use super::reader::Reader;
use crate::telemetry::check_filter;

/// Most tenants whose requests are counted each.
const MAX_TENANTS: usize = 100;
/// What the service is called in traces.
const SERVICE: &str = "agentkit-server";

/// What the service tells about itself, and to whom.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TelemetryConfig {
    /// An address of its own for metrics and health, where no credential is asked for.
    pub metrics_listen: Option<SocketAddr>,
    /// Tenants whose requests are counted each.
    pub metrics_tenants: Vec<TenantId>,
    /// In which form the log is written.
    pub log_format: LogFormat,
    /// What is logged, as a filter.
    pub log_level: Option<String>,
    /// Where traces are sent.
    pub otlp: Option<OtlpConfig>,
}

/// A form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// A collector of traces, by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// Where it listens, for example `http://localhost:4318`.
    pub endpoint: String,
    /// What this service is called in traces.
    pub service: String,
    /// Share of the traces that begin here which are sent; those that a caller began are sent if the caller samples them.
    pub sample: f64,
    headers: Option<Secret>,
}

impl OtlpConfig {
    /// Headers of every message.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        self.headers.as_ref().and_then(|headers| parse_headers(headers.expose())).unwrap_or_default()
    }
}

impl TelemetryConfig {
    /// The settings as pairs of key and value.
    pub(super) fn entries(&self) -> Vec<(&'static str, serde_json::Value)> {
        let mut entries = Vec::new();
        entries.extend(self.metrics_listen.map(|listen| ("metrics.listen", listen.to_string().into())));
        if !self.metrics_tenants.is_empty() {
            entries.push(("metrics.tenants", serde_json::json!(self.metrics_tenants)));
        }
        entries.push(("log.format", serde_json::json!(self.log_format)));
        entries.extend(self.log_level.as_ref().map(|level| ("log.level", level.clone().into())));
        if let Some(OtlpConfig { endpoint, service, sample, headers }) = &self.otlp {
            entries.push(("otlp.endpoint", endpoint.clone().into()));
            entries.push(("otlp.service", service.clone().into()));
            entries.push(("otlp.sample", (*sample).into()));
            entries.extend(headers.as_ref().map(|headers| ("otlp.headers", headers.to_string().into())));
        }
        entries
    }
}

/// Reads the sections `metrics`, `log` and `otlp`.
pub(super) fn read(reader: &mut Reader) -> TelemetryConfig {
    let metrics_listen = reader.parsed("metrics.listen", super::parse_listen);
    let metrics_tenants: Vec<TenantId> = reader.value("metrics.tenants").unwrap_or_default();
    if metrics_tenants.len() > MAX_TENANTS {
        reader.problem(format!("metrics.tenants: at most {MAX_TENANTS} tenants can be counted each"));
    }
    let log_format = reader.value("log.format").unwrap_or_default();
    let log_level = reader.parsed("log.level", |text| match check_filter(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.chain()),
    });
    TelemetryConfig { metrics_listen, metrics_tenants, log_format, log_level, otlp: otlp(reader) }
}

fn otlp(reader: &mut Reader) -> Option<OtlpConfig> {
    let endpoint = reader.parsed("otlp.endpoint", super::parse_url);
    let service: Option<String> = reader.value("otlp.service");
    let sample: f64 = reader.value("otlp.sample").unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        reader.problem(format!("otlp.sample: {sample} is not between 0 and 1"));
    }
    let headers = reader.secret_or_file("otlp.headers", "otlp.headers_file");
    if headers.as_ref().is_some_and(|headers| parse_headers(headers.expose()).is_none()) {
        reader.problem("otlp.headers: must be headers such as name=value,other=value");
    }
    if endpoint.is_none() && reader.has("otlp") {
        reader.problem("otlp: a collector needs otlp.endpoint");
    }
    let service = service.unwrap_or_else(|| SERVICE.to_owned());
    endpoint.map(|endpoint| OtlpConfig { endpoint, service, sample, headers })
}

/// Headers in the form of OpenTelemetry's own variables: pairs with commas between, values percent-encoded.
fn parse_headers(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = axum::http::HeaderName::try_from(name.trim()).ok()?;
            let value = decoded(value.trim())?;
            axum::http::HeaderValue::from_str(&value).ok()?;
            Some((name.to_string(), value))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pairs_with_percent_encoded_values() {
        let pairs = parse_headers("Authorization=Basic%20YQ==, x-team=tea,").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("authorization", "Basic YQ=="), ("x-team", "tea")]);
        for wrong in ["x", "x y=z", "x=%4", "x=%zz", "x=%0a", "=y", "x=%ff"] {
            assert_eq!(parse_headers(wrong), None, "{wrong}");
        }
    }
}
