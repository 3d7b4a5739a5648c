//! The integration tests of agentkit-core: doubles and wrappers against the suites, the clients of models against
//! servers, and the workspace against its own rules.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails ends its test"
)]

mod agents;
mod broken;
mod broken_checkpointer;
mod broken_state;
mod caller_tools;
mod cancel;
mod compose;
mod conformance;
mod dependencies;
mod guards;
mod hand_off;
mod injection;
mod llama_cpp;
mod mcp;
mod memory_kinds;
mod models;
mod openai_codec;
mod openai_http;
mod rerank_http;
mod resilience;
mod retriever_tool;
mod rewriting;
mod server;
mod structured;
mod tidy;
mod tool_agent;
mod tool_agent_cancel;
mod tool_agent_faults;
mod tool_agent_resume;
mod tool_data;
mod tooling;
