//! Asks everything the service needs whether it can be used.

use std::time::Duration;

use agentkit_core::{Error, Result, RunContext, StateSpace, TenantScope};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::AppState;

/// How long an answer is good for whoever asks next, since anybody may ask as often as they like.
const FRESH: Duration = Duration::from_secs(1);

/// What was last found out, and when; whoever finds it too old holds the lock and finds out for all who wait.
pub(super) type LastHealth = Mutex<Option<(Instant, Vec<Dependency>)>>;

/// The state of something the service needs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
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
    /// Every dependency with its state, at most a second old.
    pub(in crate::http) async fn dependencies(&self, ctx: &RunContext) -> Vec<Dependency> {
        let mut last = self.0.health.lock().await;
        if let Some((when, known)) = &*last
            && when.elapsed() < FRESH
        {
            return known.clone();
        }
        let found = self.ask_dependencies(ctx).await;
        *last = Some((Instant::now(), found.clone()));
        found
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
