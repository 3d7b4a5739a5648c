//! Serving until told to stop, and stopping without dropping anybody who still can be served.
//!
//! Connections are bounded in number. One is closed when its client takes too long to send the head of a request, also
//! the next one of a kept connection, or does not read for a while what it is sent.

mod connection;
mod explained;
mod patient;

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::Result;
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::connection::connection;
use super::state::AppState;
use super::{metrics, router};
use crate::telemetry::Refusal;

/// How long stopped requests may take to send their last event.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The wait after the system could not take a connection, such as for lack of file descriptors.
const BREATH: Duration = Duration::from_millis(200);

/// Serves on `listener` until `shutdown` completes, then drains: the service reports not ready and takes no new
/// connections, running requests go on for the grace of the limits and are then stopped with an error event.
///
/// # Cancel safety
/// If dropped, open connections are served on, without the grace.
///
/// # Errors
/// None at present; what fails is a connection, and it alone.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let connections = TaskTracker::new();
    tokio::select! {
        () = shutdown => {}
        () = accept(&listener, &state, router(state.clone()), &connections) => {}
    }
    drop(listener);
    tracing::info!("shutting down: waiting for running requests");
    state.drain();
    connections.close();
    let drained = async {
        connections.wait().await;
        state.sockets_are_closed().await;
        state.tasks_are_done().await;
    };
    let mut drained = std::pin::pin!(drained);
    tokio::select! {
        () = &mut drained => return Ok(()),
        () = state.grace_is_over() => {}
    }
    tracing::warn!("stopping the requests that still run");
    state.stop();
    if tokio::time::timeout(LAST_WORDS, drained).await.is_err() {
        tracing::warn!("closing connections whose clients do not read");
    }
    Ok(())
}

/// Serves metrics and health without a credential on an address of their own, for ever.
pub(crate) async fn serve_operator(listener: TcpListener, state: AppState) {
    accept(&listener, &state, metrics::router(state.clone()), &TaskTracker::new()).await;
}

/// Takes connections, for ever.
async fn accept(listener: &TcpListener, state: &AppState, router: Router, connections: &TaskTracker) {
    let limits = *state.limits();
    let room = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Ok(place) = room.clone().try_acquire_owned() else {
                    // Its client sees that the connection was closed and may come again.
                    state.metrics().refused(Refusal::Connections);
                    tracing::warn!(most = limits.max_connections, "a connection too many was closed");
                    continue;
                };
                let router = router.clone().layer(Extension(ConnectInfo(peer)));
                let served = connection(stream, router, limits, state.clone());
                let metrics = state.metrics().clone();
                connections.spawn(async move {
                    metrics.connected();
                    served.await;
                    metrics.disconnected();
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}
