//! `mcp`: search, fetch and ask as tools of an MCP client that starts this program.

use std::sync::Arc;

use agentkit_core::Result;
use clap::Args;

use super::output::Unit;
use super::remote::Remote;
use super::{Collection, Session, signals};
use crate::engine::{Access, Engine};
use crate::holder::Holder;
use crate::mcp::{self, Sources};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Ask this server instead of the index, for example http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    collection: Collection,
}

/// Serves the client at standard input and output until it closes them.
pub(super) async fn run(session: Session, arguments: Arguments) -> Result<()> {
    let scope = arguments.collection.scope()?;
    signals::cancel_when_stopped(&session.ctx);
    if let Some(remote) = remote(&session, arguments.server.as_deref()).await? {
        let remote = Arc::new(remote);
        let sources = Sources { retriever: remote.clone(), documents: remote.clone(), agent: remote };
        return mcp::server(sources, &scope)?.serve_stdio(&session.ctx).await;
    }
    let progress = session.out.progress("opening", Unit::Bytes);
    let engine = Engine::open(&session.config, Access::ReadOnly, &progress, &session.ctx).await?;
    drop(progress);
    let sources = Sources {
        retriever: engine.retriever(),
        documents: Arc::new(engine.documents()),
        agent: engine.agent(),
    };
    let served = mcp::server(sources, &scope)?.serve_stdio(&session.ctx).await;
    engine.close().await?;
    served
}

/// The server that was named, or the one that holds the data directory and so knows what is new.
async fn remote(session: &Session, named: Option<&str>) -> Result<Option<Remote>> {
    if let Some(url) = named {
        return Remote::new(url, session.api_key.as_ref()).map(Some);
    }
    let Some(holder) = Holder::find(&session.config.data_dir) else { return Ok(None) };
    let remote = Remote::new(&holder.url, session.api_key.as_ref())?;
    Ok(remote.lives(&session.ctx).await.then_some(remote))
}
