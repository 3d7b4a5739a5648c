//! The process's one subscriber: what is logged, counted and exported.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use agentkit_core::{Error, Result};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt as log, reload};

use super::json::JsonLine;
use super::otlp::Otlp;
use super::{Metrics, metrics_layer};
use crate::config::{LogFormat, OtlpConfig};

/// Spans that are counted and exported are no news for the log.
const NOT_LOGGED: &str = "agentkit::telemetry=off";

/// How attributes begin that no convention names; the log leaves it out.
pub(super) const OURS: &str = "agentkit.";

/// What a process tells about itself.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) log: LogLevel,
    otlp: Option<Otlp>,
}

/// What is to be told.
pub(crate) struct Told<'t> {
    /// What is logged, as a filter.
    pub(crate) filter: &'t str,
    pub(crate) format: LogFormat,
    pub(crate) metrics: Metrics,
    /// Whether spans are counted.
    pub(crate) counts: bool,
    pub(crate) otlp: Option<&'t OtlpConfig>,
}

impl Telemetry {
    /// Starts to tell; connections are driven by `runtime`.
    pub(crate) fn start(told: Told<'_>, runtime: Handle) -> Result<Self> {
        let (filter, handle) = reload::Layer::new(parse(told.filter)?);
        let otlp = told.otlp.map(|config| Otlp::new(config, runtime)).transpose()?;
        let subscriber = tracing_subscriber::registry()
            .with(log_layer(told.format).with_filter(filter))
            .with(told.counts.then(|| metrics_layer(told.metrics.clone())))
            .with(otlp.as_ref().map(Otlp::layer));
        subscriber.try_init().map_err(|error| Error::internal(format!("start the log: {error}")))?;
        let set = move |filter: EnvFilter| {
            handle.reload(filter).map_err(|error| Error::internal("change the log").with_source(error))
        };
        let log = LogLevel { set: Arc::new(set), current: Arc::new(Mutex::new(told.filter.to_owned())) };
        Ok(Self { metrics: told.metrics, log, otlp })
    }

    /// Sends what has not been sent yet, for a while at most.
    pub(crate) async fn close(&mut self) {
        if let Some(otlp) = self.otlp.take() {
            otlp.close().await;
        }
    }
}

/// What is logged, which can be changed at any time; cheap to clone.
#[derive(Clone)]
pub(crate) struct LogLevel {
    set: Arc<dyn Fn(EnvFilter) -> Result<()> + Send + Sync>,
    current: Arc<Mutex<String>>,
}

impl LogLevel {
    /// Logs what `filter` lets through from now on; says whether that is a change.
    pub(crate) fn change(&self, filter: &str) -> Result<bool> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == filter {
            return Ok(false);
        }
        (self.set)(parse(filter)?)?;
        filter.clone_into(&mut current);
        Ok(true)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel").field("current", &self.current).finish_non_exhaustive()
    }
}

/// Whether `filter` can be read as one.
pub(crate) fn check_filter(filter: &str) -> Result<()> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(format!("{NOT_LOGGED},{filter}"))
        .map_err(|error| Error::invalid_input("read the log filter").with_source(error))
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    match format {
        LogFormat::Json => log::layer()
            .fmt_fields(log::format::JsonFields::new())
            .event_format(JsonLine)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Text => log::layer()
            .fmt_fields(debug_fn(|writer, field, value| match field.name() {
                // For exporters, not for people.
                name if name.starts_with("otel.") => Ok(()),
                "message" => write!(writer, "{value:?} "),
                name => write!(writer, "{}={value:?} ", name.strip_prefix(OURS).unwrap_or(name)),
            }))
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed(),
    }
}
