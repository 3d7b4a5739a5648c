//! Conversations kept in this process, the newest messages of each.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{SessionId, TenantId};
use crate::memory::{Memory, SessionKey, SessionSummary};
use crate::message::Message;
use crate::scope::TenantScope;

/// Messages kept of each conversation unless another number is asked for.
const WINDOW: usize = 1000;
/// Most conversations of a tenant.
const MAX_SESSIONS: usize = 10_000;

/// Keeps the newest messages of every conversation until it is dropped.
///
/// # Examples
/// ```
/// use agentkit_core::{Memory, Message, RunContext, SessionId, SessionKey, TenantScope, WindowMemory};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (memory, ctx) = (WindowMemory::with_window(2), RunContext::new());
/// let key = SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap());
/// for text in ["one", "two", "three"] {
///     memory.append(&key, vec![Message::user(text)], &ctx).await.unwrap();
/// }
/// let kept = memory.recall(&key, 10, &ctx).await.unwrap();
/// assert_eq!(kept, [Message::user("two"), Message::user("three")]);
/// # });
/// ```
#[derive(Debug)]
pub struct WindowMemory {
    window: usize,
    tenants: Mutex<Tenants>,
}

type Tenants = BTreeMap<TenantId, BTreeMap<SessionId, VecDeque<Message>>>;

impl WindowMemory {
    /// A memory of the newest 1,000 messages of each conversation.
    #[must_use]
    pub fn new() -> Self {
        Self::with_window(WINDOW)
    }

    /// A memory of the newest `window` messages of each conversation.
    #[must_use]
    pub fn with_window(window: usize) -> Self {
        Self { window, tenants: Mutex::default() }
    }

    fn tenants(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for WindowMemory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Memory for WindowMemory {
    async fn append(&self, key: &SessionKey, turn: Vec<Message>, ctx: &RunContext) -> Result<()> {
        ctx.check()?;
        let mut tenants = self.tenants();
        let sessions = tenants.entry(key.scope().tenant().clone()).or_default();
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(key.session()) {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("this memory holds {MAX_SESSIONS} conversations of a tenant at most; forget some"),
            ));
        }
        let messages = sessions.entry(key.session().clone()).or_default();
        messages.extend(turn);
        let surplus = messages.len().saturating_sub(self.window);
        messages.drain(..surplus);
        Ok(())
    }

    async fn recall(&self, key: &SessionKey, limit: usize, ctx: &RunContext) -> Result<Vec<Message>> {
        ctx.check()?;
        let tenants = self.tenants();
        let messages = tenants.get(key.scope().tenant()).and_then(|sessions| sessions.get(key.session()));
        Ok(messages.map_or_else(Vec::new, |messages| {
            messages.iter().skip(messages.len().saturating_sub(limit)).cloned().collect()
        }))
    }

    async fn sessions(
        &self,
        scope: &TenantScope,
        after: Option<&SessionId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<SessionSummary>> {
        ctx.check()?;
        let tenants = self.tenants();
        let Some(sessions) = tenants.get(scope.tenant()) else { return Ok(Vec::new()) };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = sessions.range::<SessionId, _>((start, Bound::Unbounded)).take(limit);
        Ok(page.map(|(id, messages)| SessionSummary::new(id.clone(), messages.len() as u64)).collect())
    }

    async fn forget(&self, key: &SessionKey, ctx: &RunContext) -> Result<bool> {
        ctx.check()?;
        let mut tenants = self.tenants();
        let sessions = tenants.get_mut(key.scope().tenant());
        Ok(sessions.is_some_and(|sessions| sessions.remove(key.session()).is_some()))
    }
}
