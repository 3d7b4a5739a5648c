//! `mcp`: search, fetch and ask as tools of an MCP client that starts this program.

use std::sync::Arc;

use agentkit_core::{Result, TenantScope};
use clap::Args;

use super::held::Held;
use super::output::Unit;
use super::remote::Remote;
use super::{Collection, Session, signals};
use crate::engine::{Access, Engine};
use crate::identity::Role;
use crate::mcp::{self, Sources};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Ask the server at this address instead of the index
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    collection: Collection,
}

/// Serves the client at standard input and output until it closes them.
pub(super) async fn run(session: Session, arguments: Arguments) -> Result<()> {
    let scope = arguments.collection.scope()?;
    signals::cancel_when_stopped(&session.ctx);
    if let Some(url) = &arguments.server {
        let remote = Remote::new(url, session.api_key.as_ref())?;
        return through(&session, remote, &scope).await;
    }
    // The server that holds the data directory knows what is new.
    if let Some(held) = Held::find(&session, Role::User).await? {
        let served = through(&session, held.remote.clone(), &scope).await;
        return served.and(held.close().await);
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

async fn through(session: &Session, remote: Remote, scope: &TenantScope) -> Result<()> {
    let remote = Arc::new(remote);
    let sources = Sources { retriever: remote.clone(), documents: remote.clone(), agent: remote };
    mcp::server(sources, scope)?.serve_stdio(&session.ctx).await
}
