//! Where an ingest writes to: the contract, and the index as one of them.

use agentkit_core::{DocumentId, Result, RunContext, TenantScope};
use async_trait::async_trait;

use crate::index::{DocumentSummary, Index, UpsertReport};
use crate::source::SourceDocument;

/// A collection of documents that files are ingested into, such as an [`Index`] or a server that holds one.
///
/// # Contract for implementers
/// - What a returned `upsert` or `delete` did is durable, and every later call sees it.
/// - `upsert` cuts and embeds the documents itself; calls for different documents may run at the same time, and what is in
///   progress when a call is dropped is done as a whole or not at all.
/// - `list` gives every document once, in the order of the ids, with the hash of its source text.
#[async_trait]
pub trait IngestTarget: Send + Sync {
    /// Writes documents; each replaces the document of the same id.
    ///
    /// # Cancel safety
    /// If dropped, each of the documents is written as a whole or not at all.
    ///
    /// # Errors
    /// Invalid input if a document cannot be kept, which says nothing about the others; anything else ends the ingest.
    async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<UpsertReport>;

    /// Deletes documents and says how many existed.
    ///
    /// # Cancel safety
    /// If dropped, each of them is deleted or not.
    ///
    /// # Errors
    /// As the target fails.
    async fn delete(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64>;

    /// At most `limit` documents after `after`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// As the target fails.
    async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&DocumentId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentSummary>>;
}

#[async_trait]
impl IngestTarget for Index {
    async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<UpsertReport> {
        Index::upsert(self, scope, documents, ctx).await
    }

    async fn delete(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64> {
        Index::delete(self, scope, ids, ctx).await
    }

    async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&DocumentId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentSummary>> {
        Index::list(self, scope, after, limit, ctx).await
    }
}
