//! Asks everything the service needs whether it can be used.

use agentkit_core::{Error, Result, RunContext, StateSpace, TenantScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AppState;
use crate::telemetry::Dependencies;

/// The state of something the service needs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(in crate::http) struct Dependency {
    /// What it is.
    name: String,
    /// `ok` or `failed`.
    status: String,
    /// What is there, or what failed.
    detail: String,
}

impl Dependency {
    /// Its name, if it cannot be used.
    pub(in crate::http) fn failed(&self) -> Option<&str> {
        (self.status != "ok").then_some(&*self.name)
    }
}

impl AppState {
    /// Brings up to date what the metrics say about the index and the dependencies.
    pub(in crate::http) async fn take_stock(&self, ctx: &RunContext) {
        let (dependencies, totals) =
            tokio::join!(self.dependencies(ctx), ctx.run(self.0.services.documents.totals(ctx)));
        let each: Vec<_> = dependencies.iter().map(|each| (&*each.name, each.failed().is_none())).collect();
        let ready = !self.is_draining() && each.iter().all(|(_, usable)| *usable);
        self.0.metrics.dependencies(&Dependencies { ready, each });
        // A store that cannot be read is told by its dependency; its last size stands.
        if let Ok(totals) = totals {
            self.0.metrics.index(totals);
        }
    }

    /// Every dependency with its state. How much is there is told only where everybody may know.
    pub(in crate::http) async fn dependencies(&self, ctx: &RunContext) -> Vec<Dependency> {
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
        ]
    }
}

fn dependency(name: &str, state: Result<String, Error>) -> Dependency {
    let (status, detail) = match state {
        Ok(detail) => ("ok", detail),
        Err(error) => ("failed", error.message().to_owned()),
    };
    Dependency { name: name.into(), status: status.into(), detail }
}
