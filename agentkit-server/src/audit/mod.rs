//! The audit trail: who did what to what, with which outcome, in a chain that shows when it was tampered with.
//!
//! Each tenant has a chain of its own, so nobody learns from a gap what others do. A record holds the hash of the one
//! before it; whoever changes, removes or adds one in the middle breaks the chain, which `audit verify` finds. The
//! head, which `audit verify` prints, has to be kept elsewhere to find out that the whole chain was made anew.
//! People stand in it under pseudonyms, so that they can be forgotten without breaking it.

mod chain;
mod log;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::log::{AuditLog, Verified};
use crate::clock::Timestamp;
use crate::identity::Role;

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct AuditEvent {
    /// Who: a pseudonym.
    pub actor: String,
    /// The id of the key, or what else they showed.
    pub credential: String,
    /// In which role; none, if their credential was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What they did: the method and the route.
    pub action: String,
    /// To what, if the route names a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// With which outcome: the HTTP status of the answer.
    pub outcome: u16,
    /// Names the request in logs and traces.
    pub trace_id: String,
}

/// A link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Its place in the chain, from 1 without gaps.
    pub seq: u64,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// The hash of the record before it.
    pub previous: String,
    /// BLAKE3 of everything above in canonical form, in hexadecimal.
    pub hash: String,
}
