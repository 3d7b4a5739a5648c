//! Asks everything the service needs whether it can be used.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_core::{Error, Result, RunContext, StateSpace, TenantScope};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::AppState;
use crate::telemetry::Dependencies;

/// How long a dependency may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what was seen of the dependencies counts.
const FRESH: Duration = Duration::from_secs(1);
/// Calls of the chat model that fail one after the other before it is doubted.
const DOUBTFUL: u64 = 3;
/// The status of what can be used without a doubt, and of what cannot be used.
const OK: &str = "ok";
const FAILED: &str = "failed";

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
            tokio::join!(self.dependencies(), ctx.run(self.0.services.documents.totals(ctx)));
        let each = dependencies.iter().map(|each| (&*each.name, each.status == OK)).collect();
        let ready = !self.is_draining() && dependencies.iter().all(|each| each.failed().is_none());
        self.0.metrics.dependencies(&Dependencies { ready, each });
        // A store that cannot be read is told by its dependency; its last size stands.
        if let Ok(totals) = totals {
            self.0.metrics.index(totals);
        }
    }

    /// Every dependency with its state, looked at again after a second. Whoever comes meanwhile waits for one look.
    pub(in crate::http) async fn dependencies(&self) -> Vec<Dependency> {
        let mut seen = self.0.dependencies.lock().await;
        if let Some((when, dependencies)) = &*seen
            && when.elapsed() < FRESH
        {
            return dependencies.clone();
        }
        let dependencies = self.look(&self.root().child().with_timeout(PATIENCE)).await;
        if dependencies.iter().all(|each| each.failed().is_none()) {
            self.0.started.store(true, Ordering::Relaxed);
        }
        *seen = Some((Instant::now(), dependencies.clone()));
        dependencies
    }

    /// Whether all dependencies could be used at some time.
    pub(in crate::http) fn has_started(&self) -> bool {
        self.0.started.load(Ordering::Relaxed)
    }

    /// Asks every dependency. How much is there is told only where everybody may know.
    async fn look(&self, ctx: &RunContext) -> Vec<Dependency> {
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
