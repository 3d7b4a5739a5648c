//! Hybrid retrieval in process: loading, chunking, local embeddings, a crash-safe index, cited answers.

pub mod chunk;
pub mod embed;
pub mod models;
mod source;

pub use source::{Heading, SourceDocument, SourceKind};
