//! The agentkit service: HTTP and command line over `agentkit-rag`, thin enough to embed.
//!
//! # Quick start
//! ```
//! use std::sync::Arc;
//! use agentkit_server::http::{self, AppState, Limits};
//! use agentkit_server::identity::{Authenticator, Keys};
//! # use agentkit_server::{Clock, Services};
//!
//! /// Serves your own agent and stores next to your own routes.
//! fn app(services: Services) -> axum::Router {
//!     let keys = Keys::new(services.state.clone(), Clock::system());
//!     http::router(AppState::new(services, Authenticator::required(keys), Limits::default()))
//! }
//! ```

pub mod audit;
#[cfg(test)]
mod busy;
pub mod cli;
mod clock;
pub mod config;
mod documents;
mod embedded;
mod engine;
#[cfg(doctest)]
mod guides;
mod holder;
pub mod http;
pub mod identity;
mod jobs;
mod mcp;
mod people;
mod personal;
mod records;
mod renewable;
pub mod synthetic;
pub mod telemetry;

pub use clock::{Clock, Timestamp};
pub use documents::{Document, DocumentEntry, DocumentStore, StoreStats, StoreTotals, Upserted};
pub use engine::{Access, Engine};

use std::fmt;
use std::sync::Arc;

use agentkit_core::{Agent, Embedder, Memory, Retriever, StateStore};

/// What the service serves: any implementations of the contracts.
#[derive(Clone)]
pub struct Services {
    /// Answers messages.
    pub agent: Arc<dyn Agent>,
    /// Finds passages.
    pub retriever: Arc<dyn Retriever>,
    /// Keeps conversations.
    pub memory: Arc<dyn Memory>,
    /// Makes vectors for those who ask for them.
    pub embedder: Arc<dyn Embedder>,
    /// Keeps documents.
    pub documents: Arc<dyn DocumentStore>,
    /// Keeps keys, the audit trail and everything else that is small.
    pub state: Arc<dyn StateStore>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
