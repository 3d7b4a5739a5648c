//! The process's one subscriber: what is logged, counted and exported.

use std::io::IsTerminal as _;

use agentkit_core::{Error, Result};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::{Metrics, metrics_layer};

/// Spans that are counted and exported are no news for the log.
const NOT_LOGGED: &str = "agentkit::telemetry=off";

/// Logs what `filter` lets through on standard error, and counts into `metrics` if there are any.
pub(crate) fn start(filter: &str, metrics: Option<Metrics>) -> Result<()> {
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(parse(filter)?);
    let subscriber = tracing_subscriber::registry().with(log).with(metrics.map(metrics_layer));
    subscriber.try_init().map_err(|error| Error::internal(format!("start the log: {error}")))
}

fn parse(filter: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(format!("{NOT_LOGGED},{filter}"))
        .map_err(|error| Error::invalid_input("read the log filter").with_source(error))
}
