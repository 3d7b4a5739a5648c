//! The contracts of agentkit: what an agent, a retriever, a model, a memory and a tool are.
//!
//! This crate knows no database, no model runtime and no web framework. Implementations live in
//! `agentkit-rag`; anyone can add their own and prove it with the conformance suites of feature `testing`.
//!
//! # Features
#![doc = document_features::document_features!()]

mod agent;
mod checkpoint;
mod context;
mod embed;
mod error;
mod forget;
mod id;
#[cfg(feature = "mcp")]
pub mod mcp;
mod memory;
mod message;
pub mod model;
mod quote;
pub mod rerank;
pub mod resilience;
mod retrieve;
#[cfg(feature = "schema")]
mod schema;
#[cfg(not(feature = "schema"))]
#[path = "no_schema.rs"]
mod schema;
mod scope;
mod state;
mod stream;
mod structured;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod tool;

pub use agent::{
    Agent, AgentEvent, AgentEventKind, AgentInput, AgentReply, AgentRun, AgentStream, AgentTool, CallIds,
    CheckAction, Citation, Cost, Decision, Deferral, DeferredCall, HandOff, MAX_HISTORY_MESSAGES,
    MAX_MESSAGE_BYTES, Observation, Outcome, Parallel, Price, ReadyCall, Refine, RequestPatch, Resolution,
    Route, Router, RunChange, RunEnd, RunInput, RunLimits, RunSettings, RunStep, RunTotals, Sequence, Source,
    StopReason, ToolAction, ToolAgent, ToolAgentBuilder, Verdict, validate_history,
};
pub use checkpoint::{Checkpoint, Checkpointer, MemoryCheckpointer, RunKey, RunSummary};
pub use context::{CancelOnDrop, RunContext, TraceContext};
pub use embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
pub use error::{Error, ErrorKind, Result};
pub use forget::{Forgotten, forget_session, forget_tenant};
pub use id::{ChunkId, CollectionName, DocumentId, MAX_ID_BYTES, RunId, SessionId, TenantId};
pub use memory::{Memory, SessionKey, SessionSummary, SummaryMemory, VectorMemory, WindowMemory};
pub use message::{Message, Part, Role, ToolCall, ToolResult};
pub use model::{
    Capabilities, ChatEvent, ChatModel, ChatRequest, ChatResponse, ChatStream, FinishReason, ModelInfo,
    OutputSchema, PassageCitation, Usage, complete,
};
pub use quote::quote_lines;
pub use rerank::Reranker;
pub use retrieve::{
    Boosts, Conversation, Derivation, Expansion, Explanation, Filter, FusedPart, Fusion, Hit, Hyde,
    InputRange, Leg, LegExplanation, Locator, MAX_QUERY_BYTES, MAX_TOP_K, Mark, Matching, Metadata,
    MetadataValue, ModelRewriter, MultiQuery, Passage, QueryExplanation, QueryRewriter, Range, Ranked,
    Ranking, RerankingRetriever, Retriever, RetrieverTool, RewritingRetriever, Scalar, Scale, SearchPlan,
    SearchRequest, SearchResponse, Searcher, Span, WeightedQuery, search_by_parts,
};
pub use scope::TenantScope;
pub use state::{
    MAX_RECORD_BYTES, MAX_RECORD_ID_BYTES, MAX_RECORDS, MemoryState, StateChange, StateCondition, StateQuery,
    StateRecord, StateSpace, StateStore, check_changes,
};
pub use stream::Emitter;
pub use structured::{OutputMode, Structured, StructuredOutput};
pub use tool::{
    ErasedTool, ExternalTool, FunctionTool, Handling, Repeat, Tool, ToolChoice, ToolOffer, ToolPolicy,
    ToolSpec, TypedTool,
};
