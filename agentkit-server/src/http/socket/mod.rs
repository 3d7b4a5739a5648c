//! `GET /chat/ws`: a conversation over a WebSocket, with the events of `/chat` as frames.
//!
//! A connection is not a request: it may be open for hours and do nothing. So each message that is sent over it passes what
//! stands before any other request: its credential is checked anew, its rate counted, a slot taken, and it is recorded.
//! What ends a connection is a client that does not show a credential in time, goes silent, does not read, or keeps
//! sending what makes no sense.

mod conversation;
mod frames;
mod line;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;

use self::conversation::Conversation;
use self::line::Line;
use super::problem::{Problem, ProblemKind};
use super::state::{AppState, address};

/// Longest frame and message of a client in bytes.
const MAX_FRAME_BYTES: usize = 256 * 1024;
/// What a silent connection costs at most; frames of clients are small.
const BUFFER_BYTES: usize = 4 * 1024;

/// Opens a WebSocket for several messages, one answer at a time.
///
/// The credential is shown as for any other route, or by a first frame `{"type": "auth", "token": …}`, because browsers
/// cannot set headers here. Frames are JSON objects with a `type`.
#[utoipa::path(
    get,
    path = "/chat/ws",
    tag = "chat",
    security(()),
    responses(
        (status = 101, description = "The connection is a WebSocket from now on"),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn connect(
    State(state): State<AppState>,
    (headers, extensions): (HeaderMap, Extensions),
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("this route is for WebSockets only: {}", rejection.body_text());
        Problem::new(ProblemKind::InvalidInput, detail)
    })?;
    if state.is_draining() {
        return Err(Problem::new(ProblemKind::ShuttingDown, "the service is shutting down"));
    }
    let conversation = Conversation::begin(state.clone(), &headers, address(&extensions)).await?;
    let Ok(place) = state.sockets().clone().try_acquire_owned() else {
        let most = state.limits().max_sockets;
        let detail = format!("the service already has {most} WebSockets open; try again in a moment");
        return Err(Problem::new(ProblemKind::Overloaded, detail));
    };
    let upgrade = upgrade
        .max_frame_size(MAX_FRAME_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0);
    Ok(upgrade.on_upgrade(async move |socket| {
        let line = Line::new(socket, state.limits().write_timeout);
        conversation.hold(line).await;
        drop(place);
    }))
}
