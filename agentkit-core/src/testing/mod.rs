//! Test support: deterministic doubles of every contract, and the suites that any implementation can be held to.
//!
//! The doubles need no network, no clock and no chance, so a test that uses them gives the same result every
//! time. The suites in [`conformance`] check what the traits' documentation promises; run them on your own
//! implementation.
//!
//! # Examples
//! ```
//! use agentkit_core::testing::{HashingEmbedder, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! conformance::embedder(&HashingEmbedder::new()).await;
//! # });
//! ```

pub mod conformance;
mod counting;
mod embedder;
mod model;
mod reranker;
mod retriever;
mod tool;
mod words;

pub use self::counting::CountingEmbedder;
pub use self::embedder::HashingEmbedder;
pub use self::model::{ScriptedModel, ScriptedTurn};
pub use self::reranker::OverlapReranker;
pub use self::retriever::MemoryRetriever;
pub use self::tool::{EchoArguments, EchoTool};
pub use crate::memory::WindowMemory;
