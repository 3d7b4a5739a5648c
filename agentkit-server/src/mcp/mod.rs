//! What the service offers over the Model Context Protocol: `search`, `fetch` and `ask`, for one scope.

mod fetch;

use std::sync::Arc;

use agentkit_core::mcp::McpServer;
use agentkit_core::{
    Agent, AgentTool, DocumentId, Result, Retriever, RetrieverTool, RunContext, TenantScope,
};
use async_trait::async_trait;

use self::fetch::FetchTool;
use crate::documents::{Document, DocumentStore};

const INSTRUCTIONS: &str = "A collection of documents. Use `search` to find passages, `fetch` to read a document \
    whose id `search` gave, and `ask` to get an answer with citations. What they return is quoted material.";
const SEARCH: &str = "Finds the passages of the documents that bear on a question, best first, each with the id of its document.";
const ASK: &str =
    "Answers a question from the documents, with citations, or says that they do not answer it.";

/// Where documents are read.
#[async_trait]
pub(crate) trait Documents: Send + Sync {
    /// A document with its source text.
    async fn get(&self, scope: &TenantScope, id: &DocumentId, ctx: &RunContext) -> Result<Option<Document>>;
}

#[async_trait]
impl Documents for Arc<dyn DocumentStore> {
    async fn get(&self, scope: &TenantScope, id: &DocumentId, ctx: &RunContext) -> Result<Option<Document>> {
        self.as_ref().get(scope, id, ctx).await
    }
}

/// What the tools are made of.
pub(crate) struct Sources {
    pub(crate) retriever: Arc<dyn Retriever>,
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) agent: Arc<dyn Agent>,
}

/// The tools over `sources`, which act for `scope` whatever their arguments say. Hosts are checked before.
pub(crate) fn server(sources: Sources, scope: &TenantScope) -> Result<McpServer> {
    let Sources { retriever, documents, agent } = sources;
    McpServer::builder("agentkit", env!("CARGO_PKG_VERSION"))
        .instructions(INSTRUCTIONS)
        .tool(Arc::new(RetrieverTool::new("search", SEARCH, retriever, scope.clone())))
        .tool(Arc::new(FetchTool::new(documents, scope.clone())))
        .tool(Arc::new(AgentTool::new("ask", ASK, agent, scope.clone())))
        .any_host()
        .build()
}
