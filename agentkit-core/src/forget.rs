//! Deleting what is kept of a conversation or of a whole tenant: what was said, and the runs of agents.

use crate::checkpoint::{Checkpointer, RunKey};
use crate::context::RunContext;
use crate::error::Result;
use crate::memory::{Memory, SessionKey};
use crate::scope::TenantScope;

/// Conversations and runs listed at a time.
const PAGE: usize = 100;

/// What has been deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// Conversations.
    pub sessions: u64,
    /// Runs of agents that were written down.
    pub runs: u64,
}

/// Deletes a conversation from `memory`, and from `runs` what agents did in it. Documents are not touched: they are
/// deleted from the index that holds them.
///
/// # Cancel safety
/// If dropped, the conversation and each run are deleted whole or not at all; call it again for the rest.
///
/// # Errors
/// Unavailable, or stopped; what was deleted until then is gone.
pub async fn forget_session(
    memory: &dyn Memory,
    runs: Option<&dyn Checkpointer>,
    key: &SessionKey,
    ctx: &RunContext,
) -> Result<Forgotten> {
    // The runs first: who tries again after an error still finds the conversation.
    let runs = match runs {
        Some(runs) => runs.forget(key, ctx).await?,
        None => 0,
    };
    Ok(Forgotten { sessions: u64::from(memory.forget(key, ctx).await?), runs })
}

/// Deletes every conversation and every run of the scope's tenant.
///
/// # Cancel safety
/// If dropped, each conversation and run is deleted whole or not at all; call it again for the rest.
///
/// # Errors
/// Unavailable, corrupt, or stopped; what was deleted until then is gone.
///
/// # Examples
/// ```
/// use agentkit_core::{
///     Memory, Message, RunContext, SessionId, SessionKey, TenantScope, WindowMemory, forget_tenant,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (memory, ctx) = (WindowMemory::new(), RunContext::new());
/// let key = SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap());
/// memory.append(&key, vec![Message::user("hello")], &ctx).await.unwrap();
/// let forgotten = forget_tenant(&memory, None, key.scope(), &ctx).await.unwrap();
/// assert_eq!((forgotten.sessions, forgotten.runs), (1, 0));
/// # });
/// ```
pub async fn forget_tenant(
    memory: &dyn Memory,
    runs: Option<&dyn Checkpointer>,
    scope: &TenantScope,
    ctx: &RunContext,
) -> Result<Forgotten> {
    let runs = match runs {
        Some(runs) => forget_runs(runs, scope, ctx).await?,
        None => 0,
    };
    Ok(Forgotten { sessions: forget_sessions(memory, scope, ctx).await?, runs })
}

async fn forget_sessions(memory: &dyn Memory, scope: &TenantScope, ctx: &RunContext) -> Result<u64> {
    let (mut forgotten, mut after) = (0, None);
    loop {
        let page = memory.sessions(scope, after.as_ref(), PAGE, ctx).await?;
        let Some(last) = page.last() else { return Ok(forgotten) };
        after = Some(last.session.clone());
        for listed in page {
            let key = SessionKey::new(scope.clone(), listed.session);
            forgotten += u64::from(memory.forget(&key, ctx).await?);
        }
    }
}

async fn forget_runs(runs: &dyn Checkpointer, scope: &TenantScope, ctx: &RunContext) -> Result<u64> {
    let (mut forgotten, mut after) = (0, None);
    loop {
        let page = runs.runs(scope, after.as_ref(), PAGE, ctx).await?;
        let Some(last) = page.last() else { return Ok(forgotten) };
        after = Some(last.run.clone());
        for listed in page {
            forgotten += u64::from(runs.remove(&RunKey::new(scope.clone(), listed.run), ctx).await?);
        }
    }
}
