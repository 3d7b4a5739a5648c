//! The contracts of agentkit: what an agent, a retriever, a model, a memory and a tool are.
//!
//! This crate knows no database, no model runtime and no web framework. Implementations live in
//! `agentkit-rag`; anyone can add their own and prove it with the conformance suites of feature `testing`.
//!
//! # Features
#![doc = document_features::document_features!()]

mod agent;
mod context;
mod embed;
mod error;
mod id;
mod memory;
mod message;
pub mod model;
mod rerank;
mod retrieve;
mod scope;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod tool;

pub use agent::{
    Agent, AgentEvent, AgentEventKind, AgentInput, AgentReply, AgentStream, Citation, MAX_MESSAGE_BYTES,
    Outcome, Source,
};
pub use context::{CancelOnDrop, RunContext, TraceContext};
pub use embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
pub use error::{Error, ErrorKind, Result};
pub use id::{ChunkId, CollectionName, DocumentId, MAX_ID_BYTES, SessionId, TenantId};
pub use memory::{Memory, SessionKey, SessionSummary};
pub use message::{Message, Part, Role, ToolCall, ToolResult};
pub use model::{
    Capabilities, ChatEvent, ChatModel, ChatRequest, ChatResponse, ChatStream, FinishReason, ModelInfo,
    PassageCitation, Usage, complete,
};
pub use rerank::Reranker;
pub use retrieve::{
    Explanation, Filter, Fusion, Hit, Leg, LegExplanation, Locator, MAX_QUERY_BYTES, MAX_TOP_K, Mark,
    Metadata, MetadataValue, Passage, Range, Retriever, Scalar, SearchPlan, SearchRequest, SearchResponse,
    Span,
};
pub use scope::TenantScope;
pub use stream::Emitter;
pub use tool::{ErasedTool, Tool, ToolSpec, TypedTool};
