//! The agentkit service: HTTP and command line over `agentkit-rag`, thin enough to embed.
//!
//! # Quick start
//! ```
//! use std::sync::Arc;
//! use agentkit_server::http::{self, AppState, Limits};
//! # use agentkit_server::Services;
//!
//! /// Serves your own agent and stores next to your own routes.
//! fn app(services: Services) -> axum::Router {
//!     http::router(AppState::new(services, Limits::default()))
//! }
//! ```

pub mod cli;
pub mod config;
mod documents;
mod embedded;
mod engine;
mod holder;
pub mod http;
mod mcp;
pub mod synthetic;

pub use documents::{Document, DocumentEntry, DocumentStore, StoreStats, Upserted};
pub use engine::{Access, Engine};

use std::fmt;
use std::sync::Arc;

use agentkit_core::{Agent, Memory, Retriever};

/// What the service serves: any implementations of the contracts.
#[derive(Clone)]
pub struct Services {
    /// Answers messages.
    pub agent: Arc<dyn Agent>,
    /// Finds passages.
    pub retriever: Arc<dyn Retriever>,
    /// Keeps conversations.
    pub memory: Arc<dyn Memory>,
    /// Keeps documents.
    pub documents: Arc<dyn DocumentStore>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
