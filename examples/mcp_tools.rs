//! An agent that uses the tools of an MCP server, and a server that offers a search and an agent of yours over MCP.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::mcp::{McpClient, McpEndpoint, McpServer};
use agentkit_core::testing::{MemoryRetriever, ScriptedModel, ScriptedTurn};
use agentkit_core::{Metadata, Result, RetrieverTool, RunContext, TenantScope, ToolAgent};
use serde_json::json;

/// A server with one tool: a search that stays in the scope it was made with, whatever a client sends.
fn server(scope: &TenantScope) -> Result<McpServer> {
    let manuals = MemoryRetriever::new();
    manuals.add_text(
        scope,
        "kettle",
        "To descale the kettle, boil water with citric acid.",
        &Metadata::new(),
    )?;
    manuals.add_text(scope, "teapot", "Never put the teapot into the dishwasher.", &Metadata::new())?;
    let search = RetrieverTool::new("search", "Searches the manuals.", Arc::new(manuals), scope.clone());
    McpServer::builder("manuals", "1.0").tool(Arc::new(search)).build()
}

/// What a model would say.
fn model() -> ScriptedModel {
    ScriptedModel::new([
        ScriptedTurn::tool_call("1", "search", json!({"query": "descale kettle", "top_k": 1})),
        ScriptedTurn::text("Boil water with citric acid in it."),
    ])
}

/// The server of this program when it is started with `--serve`, else one in this process. Any other server is
/// reached alike: `McpEndpoint::command("docs", "agentkit-server").arguments(["mcp"])`, or by its address with
/// `McpEndpoint::http("docs", "http://127.0.0.1:8080/mcp")`.
async fn connect(ctx: &RunContext, scope: &TenantScope) -> Result<McpClient> {
    match std::env::args().nth(1).as_deref() {
        Some("--child") => {
            let this = std::env::current_exe().unwrap_or_default();
            let endpoint = McpEndpoint::command("manuals", this.to_string_lossy()).arguments(["--serve"]);
            McpClient::connect(endpoint, ctx).await
        }
        _ => server(scope)?.client(ctx).await,
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (ctx, scope) = (RunContext::new(), TenantScope::local());
    if std::env::args().nth(1).as_deref() == Some("--serve") {
        return server(&scope)?.serve_stdio(&ctx).await;
    }
    let client = connect(&ctx, &scope).await?;
    let mut agent = ToolAgent::builder(Arc::new(model()));
    for tool in client.tools(&ctx).await?.tools {
        println!("{} offers {}: {}", client.name(), tool.spec().name, tool.spec().description);
        agent = agent.tool(tool);
    }
    let reply = agent.build()?.ask(&scope, "How do I descale the kettle?").await?;
    println!("{}", reply.answer);
    client.close().await;
    Ok(())
}
