//! `audit verify`: every chain of the audit trail, checked from its first record to its last.

use std::sync::Arc;

use agentkit_core::{Error, Result};
use agentkit_rag::sqlite::SqliteState;
use clap::Subcommand;

use super::{Session, signals};
use crate::audit::AuditLog;
use crate::clock::Clock;
use crate::engine::SESSIONS;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Check that no record of the audit trail was changed, removed or put in, and print where each chain ends
    Verify,
}

pub(super) async fn run(session: Session, action: Action) -> Result<()> {
    let Action::Verify = action;
    signals::cancel_when_stopped(&session.ctx);
    let path = session.config.data_dir.join(SESSIONS);
    if !path.exists() {
        return Err(Error::not_found(format!("there is no audit trail in {}", path.display())));
    }
    let state = SqliteState::open(&path).await?;
    let verified = AuditLog::new(Arc::new(state.clone()), Clock::system()).verify(&session.ctx).await;
    state.close().await;
    for chain in verified? {
        let (tenant, records, head) = (&chain.tenant, chain.records, &chain.head);
        session.out.line(format_args!("{tenant}: {records} records, whole up to {} {head}", chain.last));
        session.out.object(&chain);
    }
    Ok(())
}
