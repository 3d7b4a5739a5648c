//! Hybrid retrieval in process: loading, chunking, local embeddings, a crash-safe index, cited answers.
//!
//! # Features
#![doc = document_features::document_features!()]

pub mod answer;
#[cfg(feature = "local-chat")]
pub mod chat;
pub mod chunk;
pub mod embed;
pub mod eval;
mod index;
pub mod ingest;
pub mod load;
pub mod models;
mod source;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use index::{
    BackupReport, DocumentSummary, Index, IndexStats, MAX_DOCUMENT_BYTES, ReembedProgress, ReembedReport,
    StoredDocument, UpsertReport, backup, verify,
};
#[doc(hidden)]
pub use index::{bench_support, fuzz_support};
pub use source::{Heading, SourceDocument, SourceKind};
