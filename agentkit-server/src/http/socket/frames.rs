//! What is said over a WebSocket, beside the events of runs.

use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::http::problem::ProblemDocument;
use crate::http::wire::ChatRequest;

/// A frame of the client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromClient {
    /// Shows the credential.
    Auth(Auth),
    /// Asks the agent.
    Message(ChatRequest),
    /// Comes back to a resumable run.
    Resume(Resume),
    /// Stops the answer that is under way.
    Cancel(Nothing),
    /// Asks whether anybody is there.
    Ping(Nothing),
}

/// A credential.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    token: String,
}

impl Auth {
    pub(super) fn secret(self) -> Secret {
        Secret::new(self.token)
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

/// Where to go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    /// The run.
    pub(super) run_id: String,
    /// The number of the event that the client had last.
    #[serde(default)]
    pub(super) starting_after: Option<u64>,
}

/// No members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A frame of the service that is not an event of a run.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromService {
    /// The credential is good; ask.
    Ready,
    /// A message was taken, or a run found; its events follow.
    Accepted {
        /// The run, if it is resumable.
        #[serde(skip_serializing_if = "Option::is_none")]
        run_id: Option<String>,
    },
    /// The answer to a ping.
    Pong,
    /// A frame was refused.
    Problem {
        /// Why.
        problem: ProblemDocument,
    },
}
