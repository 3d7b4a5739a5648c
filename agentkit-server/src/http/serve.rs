//! Serving until told to stop, and stopping without dropping anybody who still can be served.

use std::time::Duration;

use agentkit_core::{Error, Result};
use tokio::net::TcpListener;

use super::router;
use super::state::AppState;

/// How long stopped requests may take to send their last event.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves on `listener` until `shutdown` completes, then drains: the service reports not ready and takes no new
/// connections, running requests go on for the grace of the limits and are then stopped with an error event.
///
/// # Cancel safety
/// If dropped, open connections are cut.
///
/// # Errors
/// Unavailable, if the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let draining = state.clone();
    let service = axum::serve(listener, router(state.clone())).with_graceful_shutdown(async move {
        shutdown.await;
        tracing::info!("shutting down: waiting for running requests");
        draining.drain();
    });
    let mut service = std::pin::pin!(service.into_future());
    let failed = |error| Error::io("serve HTTP", error);
    tokio::select! {
        ended = &mut service => return ended.map_err(failed),
        () = state.grace_is_over() => {}
    }
    tracing::warn!("stopping the requests that still run");
    state.stop();
    if let Ok(ended) = tokio::time::timeout(LAST_WORDS, service).await {
        return ended.map_err(failed);
    }
    tracing::warn!("closing connections whose clients do not read");
    Ok(())
}
