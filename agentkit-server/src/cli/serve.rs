//! `serve`: the data directory over HTTP.

use std::net::SocketAddr;
use std::path::Path;

use agentkit_core::{Error, Result};
use tokio::net::TcpListener;

use super::output::Unit;
use super::{Session, signals};
use crate::config::Config;
use crate::engine::{Access, Engine};
use crate::holder::Holder;
use crate::http::{self, AppState};

pub(super) async fn run(session: Session) -> Result<()> {
    session.config.check_listen()?;
    signals::cancel_when_stopped(&session.ctx);
    let progress = session.out.progress("opening", Unit::Bytes);
    let engine = Engine::open(&session.config, Access::ReadWrite, &progress, &session.ctx).await?;
    drop(progress);
    until_stopped(&session, engine, &session.config.data_dir).await
}

/// Serves `engine` until the process is told to stop.
pub(super) async fn until_stopped(session: &Session, engine: Engine, data_dir: &Path) -> Result<()> {
    let (listener, url) = bind(&session.config).await?;
    let announced = Holder::announce(data_dir, url.clone())?;
    session.out.line(format_args!("serving on {url}"));
    session.out.object(&serde_json::json!({"event": "serving", "url": url}));
    let state = AppState::new(engine.services()?, session.config.limits);
    let stop = session.ctx.clone();
    let served = http::serve(listener, state, async move {
        stop.stopped().await;
    });
    let served = served.await;
    drop(announced);
    engine.close().await?;
    served
}

async fn bind(config: &Config) -> Result<(TcpListener, String)> {
    let failed = |error| {
        let advice = "choose another address with --listen";
        Error::io(format!("listen on {}; {advice}", config.listen), error)
    };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let bound: SocketAddr = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{bound}")))
}
