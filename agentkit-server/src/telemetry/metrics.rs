//! Every metric of the service: its name, its labels, its buckets.
//!
//! Always true: no label takes a value that a client chooses. Routes are templates, methods those of HTTP, models those
//! of the configuration, tenants those that the operator names.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkit_core::{Error, Result, TenantId};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::process::Process;
use crate::documents::StoreTotals;

/// Upper bounds in seconds of what a user waits for; 0.2, 1 and 2 are the goals.
const WAITS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds in seconds of the steps within.
const STEPS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];
/// The label of tenants that the operator did not name.
const OTHERS: &str = "other";

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The metrics of one service; cheap to clone.
///
/// # Examples
/// ```
/// use agentkit_server::telemetry::Metrics;
///
/// let text = Metrics::new().text().unwrap();
/// assert!(text.contains("# TYPE agentkit_http_requests_in_flight gauge"));
/// ```
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    tenants: BTreeSet<TenantId>,
    http: Http,
    work: Work,
    state: State,
}

/// What the HTTP layer counts.
#[derive(Clone)]
struct Http {
    requests: Counters<3>,
    duration: Histograms<2>,
    in_flight: Gauge,
    of_tenants: Counters<1>,
    problems: Counters<1>,
    refusals: Counters<1>,
    connections: Gauge,
}

/// What the libraries' spans tell.
#[derive(Clone)]
struct Work {
    runs: Counters<1>,
    job_documents: Counters<1>,
    first_token: Histogram,
    retrieval: Histograms<1>,
    embedding: Histograms<1>,
    queue: Histograms<1>,
    waiting: Gauges<1>,
    model: Histograms<2>,
    tokens: Counters<2>,
    lookups: Counters<2>,
    /// Calls of the chat model that failed since one last succeeded.
    failures: Arc<AtomicU64>,
}

/// What is looked at when somebody asks for the metrics.
#[derive(Clone)]
struct State {
    collections: Gauge,
    documents: Gauge,
    chunks: Gauge,
    generation: Gauge,
    ready: Gauge,
    dependencies: Gauges<1>,
}

/// A request that was answered to its end.
pub(crate) struct Requested<'r> {
    pub(crate) method: &'static str,
    pub(crate) route: &'r str,
    pub(crate) status: u16,
    pub(crate) took: Duration,
}

/// A limit that somebody ran into.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    /// Too many requests a minute.
    Requests,
    /// No model tokens left.
    Tokens,
    /// All slots taken.
    Concurrency,
    /// Too many connections.
    Connections,
}

/// Whether the service is ready, and each thing it needs with whether it can be used.
pub(crate) struct Dependencies<'d> {
    pub(crate) ready: bool,
    pub(crate) each: Vec<(&'d str, bool)>,
}

impl Metrics {
    /// Metrics that start at zero and tell no tenant from another.
    #[must_use]
    pub fn new() -> Self {
        Self::with_tenants([])
    }

    /// Metrics that count the requests of these tenants each, and of all others together.
    #[must_use]
    pub fn with_tenants(tenants: impl IntoIterator<Item = TenantId>) -> Self {
        let (mut registry, tenants) = (Registry::default(), tenants.into_iter().collect());
        let ours = registry.sub_registry_with_prefix("agentkit");
        let build: Gauges<1> = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        ours.register("build_info", "The version that runs, in its label", build);
        let (http, work, state) = (Http::new(ours), Work::new(ours), State::new(ours));
        registry.register_collector(Box::new(Process::new()));
        Self(Arc::new(Families { registry, tenants, http, work, state }))
    }

    /// The metrics in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// Internal, if one of them cannot be written.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0.registry)
            .map_err(|error| Error::internal("write the metrics").with_source(error))?;
        Ok(text)
    }

    pub(crate) fn request_began(&self) {
        self.0.http.in_flight.inc();
    }

    pub(crate) fn request_ended(&self, ended: &Requested<'_>) {
        let (http, class) = (&self.0.http, format!("{}xx", ended.status / 100));
        let (method, route) = (("method", ended.method.to_owned()), ("route", ended.route.to_owned()));
        http.in_flight.dec();
        http.requests.get_or_create(&[method.clone(), route.clone(), ("status", class)]).inc();
        http.duration.get_or_create(&[method, route]).observe(ended.took.as_secs_f64());
    }

    pub(crate) fn problem(&self, kind: &str) {
        self.0.http.problems.get_or_create(&[("problem", kind.to_owned())]).inc();
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.0.http.refusals.get_or_create(&[("limit", refusal.name().to_owned())]).inc();
    }

    pub(crate) fn request_of(&self, tenant: &TenantId) {
        if self.0.tenants.is_empty() {
            return;
        }
        let name = self.0.tenants.get(tenant).map_or(OTHERS, TenantId::as_str);
        self.0.http.of_tenants.get_or_create(&[("tenant", name.to_owned())]).inc();
    }

    pub(crate) fn connected(&self) {
        self.0.http.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.0.http.connections.dec();
    }

    pub(crate) fn run(&self, outcome: &str) {
        self.0.work.runs.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn job_document(&self, outcome: &str) {
        self.0.work.job_documents.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn first_token(&self, seconds: f64) {
        self.0.work.first_token.observe(seconds);
    }

    pub(crate) fn retrieved(&self, leg: &str, seconds: f64) {
        self.0.work.retrieval.get_or_create(&[("leg", leg.to_owned())]).observe(seconds);
    }

    pub(crate) fn embedded(&self, side: &str, seconds: f64) {
        self.0.work.embedding.get_or_create(&[("side", side.to_owned())]).observe(seconds);
    }

    pub(crate) fn dequeued(&self, queue: &str, waited: f64, left: u64) {
        let labels = [("queue", queue.to_owned())];
        self.0.work.queue.get_or_create(&labels).observe(waited);
        self.0.work.waiting.get_or_create(&labels).set(signed(left));
    }

    pub(crate) fn asked_model(&self, model: &str, failed: bool, seconds: f64) {
        let outcome = if failed { "failed" } else { "answered" };
        let labels = [("model", model.to_owned()), ("outcome", outcome.to_owned())];
        self.0.work.model.get_or_create(&labels).observe(seconds);
        if failed {
            self.0.work.failures.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.work.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Calls of the chat model that failed since one last succeeded.
    pub(crate) fn model_failures(&self) -> u64 {
        self.0.work.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn tokens(&self, model: &str, [input, output]: [u64; 2]) {
        for (kind, tokens) in [("input", input), ("output", output)] {
            let labels = [("model", model.to_owned()), ("kind", kind.to_owned())];
            self.0.work.tokens.get_or_create(&labels).inc_by(tokens);
        }
    }

    pub(crate) fn looked_up(&self, cache: &str, found: bool) {
        let result = if found { "hit" } else { "miss" };
        self.0
            .work
            .lookups
            .get_or_create(&[("cache", cache.to_owned()), ("result", result.to_owned())])
            .inc();
    }

    pub(crate) fn index(&self, totals: StoreTotals) {
        let StoreTotals { collections, documents, chunks, generation } = totals;
        let state = &self.0.state;
        for (gauge, number) in [
            (&state.collections, collections),
            (&state.documents, documents),
            (&state.chunks, chunks),
            (&state.generation, generation),
        ] {
            gauge.set(signed(number));
        }
    }

    pub(crate) fn dependencies(&self, dependencies: &Dependencies<'_>) {
        self.0.state.ready.set(dependencies.ready.into());
        for (name, usable) in &dependencies.each {
            let labels = [("dependency", (*name).to_owned())];
            self.0.state.dependencies.get_or_create(&labels).set((*usable).into());
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("tenants", &self.0.tenants).finish_non_exhaustive()
    }
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
            Self::Connections => "connections",
        }
    }
}

impl Http {
    fn new(to: &mut Registry) -> Self {
        Self {
            requests: counted(to, "http_requests", "Requests answered, by the class of their status"),
            duration: timed(
                to,
                "http_request_duration",
                "Time from a request to the end of its answer",
                waits,
            ),
            in_flight: plain(to, "http_requests_in_flight", "Requests that are being answered"),
            of_tenants: counted(to, "tenant_requests", "Requests of the tenants named in the configuration"),
            problems: counted(to, "problems", "Problem documents sent, by kind"),
            refusals: counted(to, "refusals", "Requests and connections refused by a limit"),
            connections: plain(to, "connections", "Open connections"),
        }
    }
}

impl Work {
    fn new(to: &mut Registry) -> Self {
        let first_token = waits();
        let help = "Time from the start of a run to the first text of its answer";
        to.register_with_unit("chat_time_to_first_token", help, Unit::Seconds, first_token.clone());
        Self {
            runs: counted(to, "agent_runs", "Runs of the agent, by how they ended"),
            job_documents: counted(to, "job_documents", "Documents of jobs, by what became of them"),
            first_token,
            retrieval: timed(to, "retrieval_duration", "Time of searches and of their legs", steps),
            embedding: timed(to, "embedding_duration", "Time to embed, waiting included", steps),
            queue: timed(to, "embedding_queue", "Time a text waited to be embedded", steps),
            waiting: plain(to, "embedding_waiting", "Texts waiting to be embedded when one was last taken"),
            model: timed(to, "model_request_duration", "Time of calls of the chat model", waits),
            tokens: counted(to, "model_tokens", "Tokens given to and made by chat models"),
            lookups: counted(to, "cache_lookups", "Look-ups in caches"),
            failures: Arc::default(),
        }
    }
}

impl State {
    fn new(to: &mut Registry) -> Self {
        Self {
            collections: plain(to, "index_collections", "Collections in use since the start"),
            documents: plain(to, "index_documents", "Documents of the collections in use"),
            chunks: plain(to, "index_chunks", "Chunks of the collections in use"),
            generation: plain(
                to,
                "index_generation",
                "Commits of the collections in use, since they are there",
            ),
            ready: plain(to, "ready", "1 if the service can answer questions"),
            dependencies: plain(to, "dependency_up", "1 for each thing the service needs that can be used"),
        }
    }
}

fn plain<M: Metric + Clone + Default>(to: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    to.register(name, help, metric.clone());
    metric
}

fn counted<const N: usize>(to: &mut Registry, name: &str, help: &str) -> Counters<N> {
    plain(to, name, help)
}

fn timed<const N: usize>(
    to: &mut Registry,
    name: &str,
    help: &str,
    buckets: fn() -> Histogram,
) -> Histograms<N> {
    let family = Family::new_with_constructor(buckets);
    to.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

fn waits() -> Histogram {
    Histogram::new(WAITS)
}

fn steps() -> Histogram {
    Histogram::new(STEPS)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
