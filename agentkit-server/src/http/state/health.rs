//! Asks everything the service needs whether it can be used.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_core::{Error, Result, RunContext, StateSpace, TenantScope};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::AppState;
use crate::telemetry::Dependencies;

/// Calls of the chat model that fail one after the other before it is doubted.
const DOUBTFUL: u64 = 3;
/// The status of what can be used without a doubt, and of what cannot be used.
const OK: &str = "ok";
const FAILED: &str = "failed";

/// How long an answer is good for whoever asks next, since anybody may ask as often as they like.
const FRESH: Duration = Duration::from_secs(1);

/// What was last found out, and when; whoever finds it too old holds the lock and finds out for all who wait.
pub(super) type LastHealth = Mutex<Option<(Instant, Vec<Dependency>)>>;

/// The state of something the service needs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(in crate::http) struct Dependency {
    /// What it is.
    name: String,
    /// `ok`; `failed`, which makes the service not ready; or `degraded`, which does not.
    status: String,
    /// What is there, or what failed.
    detail: String,
}

impl Dependency {
    /// Its name, if it cannot be used.
    pub(in crate::http) fn failed(&self) -> Option<&str> {
        (self.status == FAILED).then_some(&*self.name)
    }
}

impl AppState {
    /// Brings up to date what the metrics say about the index and the dependencies.
    pub(in crate::http) async fn take_stock(&self, ctx: &RunContext) {
        let (dependencies, totals) =
            tokio::join!(self.dependencies(ctx), ctx.run(self.0.services.documents.totals(ctx)));
        let each = dependencies.iter().map(|each| (&*each.name, each.status == OK)).collect();
        let ready = !self.is_draining() && dependencies.iter().all(|each| each.failed().is_none());
        self.0.metrics.dependencies(&Dependencies { ready, each });
        // A store that cannot be read is told by its dependency; its last size stands.
        if let Ok(totals) = totals {
            self.0.metrics.index(totals);
        }
    }

    /// Every dependency with its state, at most a second old.
    pub(in crate::http) async fn dependencies(&self, ctx: &RunContext) -> Vec<Dependency> {
        let mut last = self.0.health.lock().await;
        if let Some((when, known)) = &*last
            && when.elapsed() < FRESH
        {
            return known.clone();
        }
        let found = self.ask_dependencies(ctx).await;
        if found.iter().all(|each| each.failed().is_none()) {
            self.0.started.store(true, Ordering::Relaxed);
        }
        *last = Some((Instant::now(), found.clone()));
        found
    }

    /// Whether all dependencies could be used at some time.
    pub(in crate::http) fn has_started(&self) -> bool {
        self.0.started.load(Ordering::Relaxed)
    }

    /// How much is there is told only where everybody may know.
    async fn ask_dependencies(&self, ctx: &RunContext) -> Vec<Dependency> {
        let (services, scope) = (&self.0.services, TenantScope::local());
        let space = StateSpace::of_service("health");
        let (index, sessions, state) = tokio::join!(
            ctx.run(services.documents.stats(&scope, ctx)),
            ctx.run(services.memory.sessions(&scope, None, 1, ctx)),
            ctx.run(services.state.get(&space, "none", ctx)),
        );
        let counts = |stats: crate::StoreStats| {
            if self.is_insecure() {
                format!("{} documents, {} chunks", stats.documents, stats.chunks)
            } else {
                "readable".to_owned()
            }
        };
        let readable = || "readable".to_owned();
        vec![
            dependency("index", index.map(counts)),
            dependency("sessions", sessions.map(|_| readable())),
            dependency("state", state.map(|_| readable())),
            self.model(),
        ]
    }

    /// The chat model by its latest calls: asking it would cost, and searches go on without it.
    fn model(&self) -> Dependency {
        let (status, detail) = match self.0.metrics.model_failures() {
            failures if failures < DOUBTFUL => (OK, "its latest calls do not all fail".to_owned()),
            failures => ("degraded", format!("its latest {failures} calls failed")),
        };
        Dependency { name: "model".into(), status: status.into(), detail }
    }
}

fn dependency(name: &str, state: Result<String, Error>) -> Dependency {
    let (status, detail) = match state {
        Ok(detail) => (OK, detail),
        Err(error) => (FAILED, error.message().to_owned()),
    };
    Dependency { name: name.into(), status: status.into(), detail }
}
