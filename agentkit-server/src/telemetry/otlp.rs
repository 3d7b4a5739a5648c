//! Spans sent to a collector over OTLP: in batches, from a bounded queue, by a thread of its own.
//!
//! Always true: nothing waits for the collector. When the queue is full, spans are dropped; when the collector is away,
//! they are dropped after a while. Log events are not sent, so no text that somebody logged leaves with a span.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use agentkit_core::telemetry::TARGET;
use agentkit_core::{Error, Result, TraceContext};
use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{Request, Response};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::REQUEST;
use crate::config::OtlpConfig;

/// Spans that wait to be sent; those beyond are dropped.
const QUEUE: usize = 4096;
/// Most spans of a message.
const BATCH: usize = 512;
/// How long spans may wait to be sent.
const DELAY: Duration = Duration::from_secs(2);
/// How long a message may take, and the last one at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What sends spans; the last of them go when it is [closed](Otlp::close).
pub(crate) struct Otlp(SdkTracerProvider);

impl Otlp {
    /// Prepares to send spans as `config` says, over connections that `runtime` drives.
    pub(crate) fn new(config: &OtlpConfig, runtime: Handle) -> Result<Self> {
        let wrong = |error| Error::invalid_input("set up the export of traces").with_source(error);
        let http = reqwest::Client::builder().timeout(PATIENCE).build();
        let http = http.map_err(|error| Error::internal("set up the export of traces").with_source(error))?;
        let headers: HashMap<String, String> = config.headers().into_iter().collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client { http, runtime })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", config.endpoint.trim_end_matches('/')))
            .with_timeout(PATIENCE)
            .with_headers(headers)
            .build()
            .map_err(wrong)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(sampler)
            .with_resource(resource(&config.service))
            .build();
        Ok(Self(provider))
    }

    /// A layer that makes exported spans of the libraries' spans and of requests.
    pub(crate) fn layer<S: Subscriber + for<'s> LookupSpan<'s>>(&self) -> impl Layer<S> + use<S> {
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer("agentkit"));
        let layer = layer.with_location(false).with_threads(false).with_target(false);
        let layer = layer.with_tracked_inactivity(false).with_level(false);
        let ours = filter_fn(|metadata| {
            metadata.is_span() && (metadata.target() == TARGET || metadata.name() == REQUEST)
        });
        layer.with_filter(ours.with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends what waits, for a while at most.
    pub(crate) async fn close(self) {
        let closed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(PATIENCE)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otlp")
    }
}

/// The trace that `span` belongs to once `caller` is its cause; `None` if no spans are exported.
pub(crate) fn continued(span: &Span, caller: Option<&TraceContext>) -> Option<TraceContext> {
    if let Some(caller) = caller.and_then(remote) {
        // Fails where no spans are exported, which the context tells below.
        let _ = span.set_parent(Context::new().with_remote_span_context(caller));
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    let flags = own.trace_flags().to_u8();
    let header = format!("00-{}-{}-{flags:02x}", own.trace_id(), own.span_id());
    own.is_valid().then(|| TraceContext::parse(&header)).flatten()
}

fn remote(caller: &TraceContext) -> Option<SpanContext> {
    let header = caller.traceparent();
    let mut parts = header.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::default()))
}

fn resource(service: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build()
}

/// The client the rest of the service uses, on the service's own runtime: the exporter's thread has none.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let http = self.http.clone();
        // Whatever a collector says beyond its status is of no use.
        let answer = self.runtime.spawn(async move { Ok(http.execute(request).await?.status()) });
        let mut response = Response::new(Bytes::new());
        let status: reqwest::Result<_> = answer.await?;
        *response.status_mut() = status?;
        Ok(response)
    }
}
