//! Hybrid retrieval in process: loading, chunking, local embeddings, a crash-safe index, cited answers.

pub mod chunk;
mod source;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use source::{Heading, SourceDocument, SourceKind};
