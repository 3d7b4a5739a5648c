//! What the service needs of a store of documents, and the forms in which it hands documents out.

use agentkit_core::{CollectionName, DocumentId, Filter, Metadata, Result, RunContext, TenantScope};
use agentkit_rag::{SourceDocument, SourceKind};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Keeps documents and makes them searchable.
///
/// # Contract for implementers
/// - A returned `upsert` or `delete` is durable, and visible to every later call.
/// - Documents of different tenants or collections never meet, whatever their ids.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Adds documents, or replaces those with the same ids.
    ///
    /// # Cancel safety
    /// If dropped, all of the documents are stored or none.
    ///
    /// # Errors
    /// Invalid input, conflict, resource exhausted, unavailable, or stopped.
    async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<Upserted>;

    /// Deletes documents; says how many existed.
    ///
    /// # Cancel safety
    /// If dropped, all of them are deleted or none.
    ///
    /// # Errors
    /// Conflict, resource exhausted, unavailable, or stopped.
    async fn delete(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64>;

    /// Deletes documents so that nothing of them is left in the files; says how many existed.
    ///
    /// # Cancel safety
    /// If dropped, they are deleted or not, and what is left in the files goes with the next call.
    ///
    /// # Errors
    /// Conflict, resource exhausted, unavailable, or stopped.
    async fn forget(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64>;

    /// A document with its source text.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, unavailable, or stopped.
    async fn get(&self, scope: &TenantScope, id: &DocumentId, ctx: &RunContext) -> Result<Option<Document>>;

    /// At most `limit` documents after `after`, by id.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, unavailable, or stopped.
    async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&DocumentId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentEntry>>;

    /// The ids of the documents that match `filter`, in order.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Invalid input if the filter is malformed; corrupt, unavailable, or stopped.
    async fn matching(
        &self,
        scope: &TenantScope,
        filter: &Filter,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentId>>;

    /// The collections of the scope's tenant that were ever written to, by name.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, unavailable, or stopped.
    async fn collections(&self, scope: &TenantScope, ctx: &RunContext) -> Result<Vec<CollectionName>>;

    /// How much there is.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, unavailable, or stopped.
    async fn stats(&self, scope: &TenantScope, ctx: &RunContext) -> Result<StoreStats>;

    /// How much all collections hold that were used since the store was opened, of all tenants.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unavailable, or stopped.
    async fn totals(&self, ctx: &RunContext) -> Result<StoreTotals>;
}

/// What an upsert did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upserted {
    /// Documents written.
    pub documents: u64,
    /// Documents that were there just so and were left alone.
    pub unchanged: u64,
    /// Chunks of the documents written.
    pub chunks: u64,
    /// Chunks that had to be embedded; the others kept their vectors.
    pub embedded: u64,
    /// The state of the index that holds them; grows with every commit.
    pub generation: u64,
}

/// A stored document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// Unique within its collection.
    #[schema(value_type = String)]
    pub id: DocumentId,
    /// Shown with citations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What kind of text it is: `text`, `markdown` or `code` for the file itself; `html`, `pdf`, `docx`, `epub`, `table` or
    /// `json` for text extracted from one.
    #[schema(value_type = String)]
    pub kind: SourceKind,
    /// The text that every span of a citation refers to, in bytes of UTF-8.
    pub source_text: String,
    /// Hash of the source text.
    pub source_hash: String,
    /// Fields to filter by.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// Pieces it is searched by.
    pub chunks: u64,
}

/// A listed document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentEntry {
    /// Unique within its collection.
    #[schema(value_type = String)]
    pub id: DocumentId,
    /// Shown with citations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Length of its source text.
    pub bytes: u64,
    /// Hash of its source text.
    pub source_hash: String,
    /// Pieces it is searched by.
    pub chunks: u64,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// Documents.
    pub documents: u64,
    /// Chunks.
    pub chunks: u64,
    /// The state of the index; grows with every commit.
    pub generation: u64,
}

/// How much all collections of a store hold together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Collections in use since the store was opened.
    pub collections: u64,
    /// Their documents.
    pub documents: u64,
    /// Their chunks.
    pub chunks: u64,
    /// The sum of their states; grows with every commit.
    pub generation: u64,
}
