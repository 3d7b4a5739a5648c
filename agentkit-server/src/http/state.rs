//! What all requests share, and the only way to it: a handler reaches data with a permit, see `permit`.

mod audit;
mod authenticate;
mod health;
mod limit;
mod permit;
mod share;
mod strangers;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agentkit_core::{Result, RunContext};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::audit::{AuditTarget, audit};
pub(super) use self::authenticate::{authenticate, bearer};
pub(super) use self::health::Dependency;
use self::health::LastHealth;
use self::limit::Limiter;
pub use self::limit::Rates;
pub(super) use self::limit::limit;
pub(super) use self::permit::{
    Ask, Audit, Caller, ManageKeys, Me, Observe, Own, Permit, Read, Review, Write, owner_of,
};
pub(super) use self::share::Share;
use self::share::Shares;
use self::strangers::Strangers;
pub(super) use self::strangers::address;
use crate::Services;
use crate::audit::AuditLog;
use crate::clock::Clock;
use crate::http::idempotency::Answers;
use crate::http::jobs::Jobs;
use crate::http::runs::Runs;
use crate::identity::{Authenticator, Keys, SignIn};
use crate::people::{KNOWN, People};
use crate::personal::Erasure;
use crate::telemetry::Metrics;

/// Most web sockets, whatever the limits say: as many as can be waited for at once.
const MAX_SOCKETS: usize = 1 << 20;
/// Credentials that are checked at once. One that was seen a moment ago needs no waiting, so more of them would be a crowd.
const AT_THE_DOOR: usize = 128;

/// How much the service takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// Requests worked on at once; more are refused at once with status 503.
    pub max_concurrent_requests: usize,
    /// How long a request may take, its stream included.
    pub request_timeout: Duration,
    /// How long requests may go on after the service was asked to stop.
    pub shutdown_grace: Duration,
    /// How long audit records are kept.
    pub audit_retention: Duration,
    /// Connections open at once; more are closed at once.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, also the next one of a kept connection.
    pub header_timeout: Duration,
    /// How long a client may go on without reading what it is sent.
    pub write_timeout: Duration,
    /// Resumable runs of a tenant that are kept at once; beyond, the one that ended first is forgotten.
    pub kept_runs: usize,
    /// Most bytes of the events of a resumable run; one that has more is ended.
    pub kept_run_bytes: usize,
    /// How long a resumable run is kept after its end.
    pub kept_run_time: Duration,
    /// Web sockets open at once; more are refused with status 503.
    pub max_sockets: usize,
    /// How long a WebSocket may be open with nothing asked.
    pub socket_idle: Duration,
    /// How much one may ask for.
    pub rates: Rates,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_requests: 512,
            request_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(30),
            audit_retention: Duration::from_hours(24 * 90),
            max_connections: 10_000,
            header_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(30),
            kept_runs: 64,
            kept_run_bytes: 1024 * 1024,
            kept_run_time: Duration::from_mins(5),
            max_sockets: 10_000,
            socket_idle: Duration::from_mins(10),
            rates: Rates::default(),
        }
    }
}

/// The state of the service; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    services: Services,
    authenticator: Authenticator,
    clock: Clock,
    audit: AuditLog,
    people: People,
    keys: Keys,
    limiter: Limiter,
    strangers: Strangers,
    health: LastHealth,
    runs: Runs,
    answers: Answers,
    jobs: Jobs,
    /// What goes on after the request that began it.
    tasks: TaskTracker,
    limits: Limits,
    metrics: Metrics,
    root: RunContext,
    slots: Arc<Semaphore>,
    /// Places for credentials that are being checked.
    door: Arc<Semaphore>,
    shares: Shares,
    sockets: Arc<Semaphore>,
    draining: CancellationToken,
    /// Whether all of them could be used at some time.
    started: AtomicBool,
}

impl AppState {
    /// Serves `services` within `limits` to those whom `authenticator` knows.
    #[must_use]
    pub fn new(services: Services, authenticator: Authenticator, limits: Limits) -> Self {
        Self::measured(services, authenticator, limits, Metrics::new())
    }

    /// The same, counting into `metrics`.
    #[must_use]
    pub fn measured(
        services: Services,
        authenticator: Authenticator,
        limits: Limits,
        metrics: Metrics,
    ) -> Self {
        let slots = limits.max_concurrent_requests.min(Semaphore::MAX_PERMITS);
        let clock = Clock::system();
        let tasks = TaskTracker::new();
        let keys = authenticator.keys().cloned();
        let answers = Answers::new(services.state.clone(), clock.clone());
        let keys = keys.unwrap_or_else(|| Keys::new(services.state.clone(), clock.clone()));
        Self(Arc::new(Shared {
            audit: AuditLog::new(services.state.clone(), clock.clone()),
            clock,
            people: People::new(services.state.clone()),
            keys,
            limiter: Limiter::new(limits.rates),
            strangers: Strangers::new(),
            health: LastHealth::default(),
            runs: Runs::new(limits, tasks.clone()),
            answers,
            jobs: Jobs::new(services.state.clone()),
            tasks,
            services,
            authenticator,
            limits,
            metrics,
            root: RunContext::new(),
            slots: Arc::new(Semaphore::new(slots)),
            door: Arc::new(Semaphore::new(AT_THE_DOOR)),
            shares: Shares::of(slots),
            sockets: Arc::new(Semaphore::new(limits.max_sockets.min(MAX_SOCKETS))),
            draining: CancellationToken::new(),
            started: AtomicBool::new(false),
        }))
    }

    /// Reports the service as not ready from now on; requests are still answered.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Stops everything that still runs.
    pub fn stop(&self) {
        self.drain();
        self.0.root.cancel();
    }

    /// Whether the service was asked to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Whether nobody is asked for a credential.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.0.authenticator.is_insecure()
    }

    /// How somebody signs in to the page at the identity provider, if they can.
    pub(super) async fn sign_in(&self) -> Option<Arc<SignIn>> {
        self.0.authenticator.sign_in().await
    }

    /// Where it is written down who did what.
    #[must_use]
    pub fn audit_log(&self) -> &AuditLog {
        &self.0.audit
    }

    /// Goes on with the erasures that a crash or a stop held up.
    ///
    /// # Cancel safety
    /// If dropped, they are held up again.
    ///
    /// # Errors
    /// What the stores say, or stopped.
    pub async fn resume(&self) -> Result<()> {
        self.erasure().resume(&self.0.root.child()).await
    }

    pub(super) fn erasure(&self) -> Erasure {
        let Shared { services, people, clock, limits, .. } = &*self.0;
        let (services, people, clock) = (services.clone(), people.clone(), clock.clone());
        Erasure { services, people, clock, wait: limits.request_timeout + KNOWN }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(super) fn root(&self) -> &RunContext {
        &self.0.root
    }

    /// The context of one request of `caller`: its own deadline, and the tokens that are left to them.
    pub(super) fn begin(&self, caller: &Caller) -> RunContext {
        let left = self.0.limiter.tokens_left(&caller.principal).unwrap_or(Some(0)).unwrap_or(u64::MAX);
        self.0.root.child().with_timeout(self.0.limits.request_timeout).with_token_budget(left)
    }

    /// Counts the tokens that a request of `caller` used.
    pub(super) fn spent(&self, caller: &Caller, tokens: u64) {
        self.0.limiter.spend(&caller.principal, tokens);
    }

    pub(super) fn shares(&self) -> &Shares {
        &self.0.shares
    }

    pub(super) fn slots(&self) -> &Arc<Semaphore> {
        &self.0.slots
    }

    /// The answers that were given to requests with keys.
    pub(super) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    /// The jobs that store documents.
    pub(super) fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    /// Completes when everything that went on after its request is over.
    pub(super) async fn tasks_are_done(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(super) fn sockets(&self) -> &Arc<Semaphore> {
        &self.0.sockets
    }

    /// Completes when every WebSocket is closed.
    pub(super) async fn sockets_are_closed(&self) {
        let all = self.0.limits.max_sockets.min(MAX_SOCKETS);
        // The semaphore is never closed.
        let _ = self.0.sockets.acquire_many(u32::try_from(all).unwrap_or(u32::MAX)).await;
    }

    /// Completes when the service is asked to stop.
    pub(super) async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Completes the shutdown grace after draining began.
    pub(super) async fn grace_is_over(&self) {
        self.0.draining.cancelled().await;
        tokio::time::sleep(self.0.limits.shutdown_grace).await;
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState")
            .field("limits", &self.0.limits)
            .field("insecure", &self.is_insecure())
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}
