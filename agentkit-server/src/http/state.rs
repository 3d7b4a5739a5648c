//! What all requests share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::RunContext;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Services;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_requests: 512,
            request_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

/// The state of the service; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    services: Services,
    limits: Limits,
    root: RunContext,
    slots: Arc<Semaphore>,
    draining: CancellationToken,
}

impl AppState {
    /// Serves `services` within `limits`.
    #[must_use]
    pub fn new(services: Services, limits: Limits) -> Self {
        let slots = limits.max_concurrent_requests.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            services,
            limits,
            root: RunContext::new(),
            slots: Arc::new(Semaphore::new(slots)),
            draining: CancellationToken::new(),
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

    pub(super) fn services(&self) -> &Services {
        &self.0.services
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(super) fn root(&self) -> &RunContext {
        &self.0.root
    }

    pub(super) fn slots(&self) -> &Arc<Semaphore> {
        &self.0.slots
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
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}
