//! What the service tells about itself: metrics for Prometheus, logs, and traces for a collector.
//!
//! The libraries open spans, see `agentkit_core::telemetry`. Metrics and traces are made of the same spans, so that they
//! cannot disagree (`docs/adr/0037-metrics-and-spans.md`).

mod json;
mod layer;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
mod otlp;
mod process;
mod start;

pub(crate) use self::layer::metrics_layer;
pub use self::metrics::Metrics;
pub(crate) use self::metrics::{Dependencies, Refusal, Requested};
pub(crate) use self::otlp::continued;
pub(crate) use self::start::{LogLevel, Telemetry, Told, check_filter};

/// What the span of a request is called.
pub(crate) const REQUEST: &str = "request";
