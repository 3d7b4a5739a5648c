//! The MCP client against the MCP server: in this process, over a child's standard input and output, over HTTP, and against an
//! independent implementation where one is installed.

mod child;
mod hostile;
mod http;
mod loopback;
mod python;

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::mcp::{McpClient, McpServer};
use agentkit_core::testing::EchoTool;
use agentkit_core::{Error, ErrorKind, FunctionTool, RunContext, Tool, ToolPolicy};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

/// The longest a test waits for what happens at once.
const SOON: Duration = Duration::from_secs(20);

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Size {
    /// How many letters to give.
    #[schemars(range(max = 10_000_000))]
    letters: usize,
}

/// A tool that never returns, and says when a call begins and when it is dropped.
#[derive(Clone)]
struct Waiting {
    begun: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
}

struct Permit(Arc<Semaphore>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl Waiting {
    fn new() -> Self {
        Self { begun: Arc::new(Semaphore::new(0)), dropped: Arc::new(Semaphore::new(0)) }
    }

    fn tool(&self) -> FunctionTool {
        let this = self.clone();
        FunctionTool::new("wait", "Waits for ever.", move |_: Nothing, _ctx| {
            let this = this.clone();
            async move {
                let _dropped = Permit(this.dropped);
                this.begun.add_permits(1);
                std::future::pending::<()>().await;
                Ok(())
            }
        })
    }
}

/// Waits until it happened once more.
async fn once(what: &Semaphore) {
    tokio::time::timeout(SOON, what.acquire()).await.expect("it did not happen").unwrap().forget();
}

fn failing(name: &str, kind: ErrorKind) -> FunctionTool {
    FunctionTool::new(name, "Fails.", move |_: Nothing, _ctx| async move {
        Err::<(), _>(
            Error::new(kind, "it cannot be done").with_source(std::io::Error::other("a secret path")),
        )
    })
}

/// A server with tools of every kind.
fn server(waiting: &Waiting) -> McpServer {
    let letters = FunctionTool::new("letters", "Gives letters.", |size: Size, _ctx| async move {
        Ok("x".repeat(size.letters))
    });
    let trace = FunctionTool::new("trace", "Tells the trace.", |_: Nothing, ctx: RunContext| async move {
        Ok(ctx.trace().trace_id())
    });
    let told = failing("told", ErrorKind::Unavailable).policy(ToolPolicy::new().telling_failures());
    let late = ToolPolicy::new().timeout(Duration::from_millis(20));
    let late =
        FunctionTool::new("late", "Is late.", |_: Nothing, _ctx| std::future::pending::<Result<(), Error>>())
            .policy(late);
    let panicking = FunctionTool::new("panicking", "Panics.", |_: Nothing, _ctx| async move {
        assert!(!std::hint::black_box(true), "with a secret");
        Ok(())
    });
    McpServer::builder("tests", "0.1")
        .instructions("Only for tests.")
        .tool(Arc::new(EchoTool::erased()))
        .tool(Arc::new(letters))
        .tool(Arc::new(trace))
        .tool(Arc::new(failing("missing", ErrorKind::NotFound)))
        .tool(Arc::new(failing("broken", ErrorKind::Unavailable)))
        .tool(Arc::new(told))
        .tool(Arc::new(late))
        .tool(Arc::new(panicking))
        .tool(Arc::new(waiting.tool()))
        .build()
        .unwrap()
}

/// The tool of that name.
async fn tool(client: &McpClient, name: &str) -> Arc<dyn Tool> {
    let tools = client.tools(&RunContext::new()).await.unwrap().tools;
    let found = tools.into_iter().find(|tool| tool.spec().name == name);
    found.unwrap_or_else(|| panic!("there is no tool {name:?}"))
}
