//! The memory contract: what a conversation keeps between turns, and kinds of memory.
//!
//! [`WindowMemory`] keeps the newest messages in this process. Around any store, [`SummaryMemory`] puts a summary in the place
//! of what is older than a budget of tokens, and [`VectorMemory`] finds earlier turns by their meaning.

mod summary;
mod vector;
mod window;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::RunContext;
use crate::error::Result;
use crate::id::SessionId;
use crate::message::Message;
use crate::scope::TenantScope;

pub use self::summary::SummaryMemory;
pub use self::vector::VectorMemory;
pub use self::window::WindowMemory;

/// Names one conversation of one tenant; cannot be formed without a scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    scope: TenantScope,
    session: SessionId,
}

impl SessionKey {
    /// The conversation `session` of the scope's tenant. Sessions belong to the tenant, not to a collection.
    #[must_use]
    pub fn new(scope: TenantScope, session: SessionId) -> Self {
        Self { scope, session }
    }

    /// Whose conversation it is.
    #[must_use]
    pub fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// Which conversation it is.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }
}

/// A listed conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionSummary {
    /// Which conversation.
    pub session: SessionId,
    /// How many messages it holds.
    pub messages: u64,
}

impl SessionSummary {
    /// Describes a conversation.
    #[must_use]
    pub fn new(session: SessionId, messages: u64) -> Self {
        Self { session, messages }
    }
}

/// Keeps conversations.
///
/// # Contract for implementers
/// - `append` is atomic: a reader sees all of a turn's messages or none, in the order appended, and a
///   returned `append` is as durable as the store promises.
/// - `recall` gives the newest `limit` messages, oldest first; an unknown session is empty, not an error. A kind of
///   memory that gives something else in the place of some of them says so; it never gives more than `limit`.
/// - Sessions of different tenants never meet, whatever their ids.
/// - `forget` removes every trace and says whether there was anything.
#[async_trait]
pub trait Memory: Send + Sync {
    /// Adds a turn's messages to the end of a conversation, which begins with its first turn.
    ///
    /// # Cancel safety
    /// If dropped, the turn is stored whole or not at all.
    ///
    /// # Errors
    /// Unavailable, resource exhausted, or stopped.
    async fn append(&self, key: &SessionKey, turn: Vec<Message>, ctx: &RunContext) -> Result<()>;

    /// The newest `limit` messages, oldest first.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unavailable, corrupt, or stopped.
    async fn recall(&self, key: &SessionKey, limit: usize, ctx: &RunContext) -> Result<Vec<Message>>;

    /// The tenant's conversations, ordered by id, at most `limit` after `after`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unavailable, corrupt, or stopped.
    async fn sessions(
        &self,
        scope: &TenantScope,
        after: Option<&SessionId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<SessionSummary>>;

    /// Deletes a conversation; says whether it existed.
    ///
    /// # Cancel safety
    /// If dropped, the conversation is deleted whole or not at all.
    ///
    /// # Errors
    /// Unavailable, or stopped.
    async fn forget(&self, key: &SessionKey, ctx: &RunContext) -> Result<bool>;
}
