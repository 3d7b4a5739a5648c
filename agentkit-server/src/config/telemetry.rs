//! The settings of metrics, logs and traces.

use std::net::SocketAddr;

use agentkit_core::TenantId;

use super::reader::Reader;

/// Most tenants whose requests are counted each.
const MAX_TENANTS: usize = 100;

/// What the service tells about itself, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TelemetryConfig {
    /// An address of its own for metrics and health, where no credential is asked for.
    pub metrics_listen: Option<SocketAddr>,
    /// Tenants whose requests are counted each.
    pub metrics_tenants: Vec<TenantId>,
}

impl TelemetryConfig {
    /// The settings as pairs of key and value.
    pub(super) fn entries(&self) -> Vec<(&'static str, serde_json::Value)> {
        let mut entries = Vec::new();
        entries.extend(self.metrics_listen.map(|listen| ("metrics.listen", listen.to_string().into())));
        if !self.metrics_tenants.is_empty() {
            entries.push(("metrics.tenants", serde_json::json!(self.metrics_tenants)));
        }
        entries
    }
}

/// Reads the sections `metrics`.
pub(super) fn read(reader: &mut Reader) -> TelemetryConfig {
    let metrics_listen = reader.parsed("metrics.listen", super::parse_listen);
    let metrics_tenants: Vec<TenantId> = reader.value("metrics.tenants").unwrap_or_default();
    if metrics_tenants.len() > MAX_TENANTS {
        reader.problem(format!("metrics.tenants: at most {MAX_TENANTS} tenants can be counted each"));
    }
    TelemetryConfig { metrics_listen, metrics_tenants }
}
