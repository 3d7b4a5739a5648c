//! Hybrid retrieval in process: loading, chunking, local embeddings, a crash-safe index, cited answers.

pub mod answer;
pub mod chunk;
pub mod eval;
mod source;

pub use source::{Heading, SourceDocument, SourceKind};
