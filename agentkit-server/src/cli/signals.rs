//! Being told to stop.

use agentkit_core::RunContext;

/// Completes at the first Ctrl-C or SIGTERM. A second one ends the process at once; every store survives that.
pub(super) async fn stop_requested() {
    signal().await;
    tokio::spawn(async {
        signal().await;
        std::process::exit(130);
    });
}

/// Cancels `ctx` when the process is told to stop.
pub(super) fn cancel_when_stopped(ctx: &RunContext) {
    let ctx = ctx.clone();
    tokio::spawn(async move {
        stop_requested().await;
        ctx.cancel();
    });
}

async fn signal() {
    let interrupted = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C cannot be heard");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupted => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be heard");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending::<()>().await;
}

/// The requests to read the configuration again.
#[cfg(unix)]
pub(super) struct Reloads(Option<tokio::signal::unix::Signal>);

/// Hears them from now on.
#[cfg(unix)]
pub(super) fn reloads() -> Reloads {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = signal(SignalKind::hangup());
    Reloads(heard.inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be heard")).ok())
}

#[cfg(unix)]
impl Reloads {
    /// Completes at the next; with `false` if there will be none.
    pub(super) async fn next(&mut self) -> bool {
        match &mut self.0 {
            Some(signal) => signal.recv().await.is_some(),
            None => false,
        }
    }
}

/// Nothing that could be heard.
#[cfg(not(unix))]
pub(super) struct Reloads;

#[cfg(not(unix))]
pub(super) fn reloads() -> Reloads {
    Reloads
}

#[cfg(not(unix))]
impl Reloads {
    pub(super) async fn next(&mut self) -> bool {
        false
    }
}
