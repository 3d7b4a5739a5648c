//! `serve`: the data directory over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use agentkit_core::{Error, Result, RunContext};
use clap::Args;
use tokio::net::TcpListener;

use super::output::Unit;
use super::{Session, keys, signals};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::{Access, Engine};
use crate::holder::Holder;
use crate::http::{self, AppState};
use crate::identity::{Authenticator, Keys, Oidc};

/// How often old audit records are removed.
const UPKEEP: Duration = Duration::from_hours(1);

#[derive(Debug, Default, Args)]
pub(super) struct Arguments {
    /// Ask nobody for a credential: for development, on loopback addresses only
    #[arg(long)]
    pub(super) insecure_dev: bool,
}

pub(super) async fn run(session: Session, arguments: Arguments) -> Result<()> {
    if arguments.insecure_dev {
        session.config.check_loopback()?;
    }
    signals::cancel_when_stopped(&session.ctx);
    let progress = session.out.progress("opening", Unit::Bytes);
    let engine = Engine::open(&session.config, Access::ReadWrite, &progress, &session.ctx).await?;
    drop(progress);
    until_stopped(&session, engine, &session.config.data_dir, &arguments).await
}

/// Serves `engine` until the process is told to stop.
pub(super) async fn until_stopped(
    session: &Session,
    engine: Engine,
    data_dir: &Path,
    arguments: &Arguments,
) -> Result<()> {
    let (listener, url) = bind(&session.config).await?;
    let state = state(session, &engine, arguments).await?;
    let announced = Holder::announce(data_dir, url.clone())?;
    if state.is_insecure() {
        session.out.note("nobody is asked for a credential (--insecure-dev)");
    }
    if let Some(warning) = without_tls(session.config.listen) {
        tracing::warn!("{warning}");
    }
    session.out.line(format_args!("serving on {url}"));
    session.out.object(&serde_json::json!({"event": "serving", "url": url}));
    let resumed = tokio::spawn(resume(state.clone()));
    let upkeep = tokio::spawn(keep_up(state.clone(), session.config.limits.audit_retention));
    let stop = session.ctx.clone();
    let served = http::serve(listener, state.clone(), async move {
        stop.stopped().await;
    });
    let served = served.await;
    upkeep.abort();
    resumed.abort();
    state.audit_log().flush().await;
    drop(announced);
    engine.close().await?;
    served
}

/// What to say of an address that other machines reach.
fn without_tls(listen: SocketAddr) -> Option<&'static str> {
    let warning = "other machines reach this address, and credentials travel to it unencrypted; put a proxy that speaks TLS in front";
    (!listen.ip().to_canonical().is_loopback()).then_some(warning)
}

async fn state(session: &Session, engine: &Engine, arguments: &Arguments) -> Result<AppState> {
    let services = engine.services()?;
    let authenticator = if arguments.insecure_dev {
        Authenticator::insecure_dev()
    } else {
        credentials(session, Keys::new(services.state.clone(), Clock::system()))?
    };
    let state = AppState::new(services.clone(), authenticator, session.config.limits);
    if !arguments.insecure_dev {
        let keys = Keys::new(services.state, Clock::system());
        keys::bootstrap(session.out, &keys, state.audit_log(), &session.ctx).await?;
    }
    Ok(state)
}

/// Keys, and the tokens of a provider if there is one.
fn credentials(session: &Session, keys: Keys) -> Result<Authenticator> {
    let required = Authenticator::required(keys);
    Ok(match &session.config.oidc {
        Some(options) => required.oidc(Oidc::new(options.clone())?),
        None => required,
    })
}

async fn resume(state: AppState) {
    if let Err(error) = state.resume().await {
        tracing::warn!(error = error.chain(), "erasures are held up until the next start");
    }
}

/// Removes audit records whose time is over, now and every hour.
async fn keep_up(state: AppState, retention: Duration) {
    let mut hours = tokio::time::interval(UPKEEP);
    loop {
        hours.tick().await;
        match state.audit_log().prune(retention, &RunContext::new()).await {
            Ok(removed) => tracing::debug!(removed, "old audit records are removed"),
            Err(error) => tracing::warn!(error = error.chain(), "old audit records could not be removed"),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_serves_other_machines_without_tls_is_warned() {
        for (listen, warned) in [
            ("127.0.0.1:8080", false),
            ("127.9.9.9:0", false),
            ("[::1]:8080", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:8080", true),
            ("[::]:8080", true),
            ("192.0.2.1:80", true),
        ] {
            assert_eq!(without_tls(listen.parse().unwrap()).is_some(), warned, "{listen}");
        }
    }
}
