//! The server that holds the data directory, and the key that is lent to go through it.

use std::time::Duration;

use agentkit_core::{Result, RunContext};

use super::Session;
use super::keys::KeyRing;
use super::remote::Remote;
use crate::config::Secret;
use crate::holder::Holder;
use crate::identity::Role;

/// How long a lent key is good if nobody revokes it. Its secret never leaves this process, and commands that follow
/// a folder or serve a client run for long.
const LENT: Duration = Duration::from_hours(24 * 365);

/// A server of the same data directory, and a key that is revoked when the command is done.
pub(super) struct Held {
    pub(super) remote: Remote,
    pub(super) url: String,
    ring: KeyRing,
    id: String,
}

impl Held {
    /// The server that holds the data directory, if one lives; `role` is what the command may do there.
    pub(super) async fn find(session: &Session, role: Role) -> Result<Option<Self>> {
        let Some(holder) = Holder::find(&session.config.data_dir) else { return Ok(None) };
        if !Remote::new(&holder.url, None)?.lives(&session.ctx).await {
            return Ok(None);
        }
        let ring = KeyRing::open(&session.config).await?;
        let key = ring.lend(role, LENT, &session.ctx).await?;
        let remote = Remote::new(&holder.url, Some(&Secret::new(key.expose())))?;
        Ok(Some(Self { remote, url: holder.url, ring, id: key.id().to_owned() }))
    }

    /// Gives the key back.
    pub(super) async fn close(self) -> Result<()> {
        // The command may be over because it was told to stop; the key is given back all the same.
        let revoked = self.ring.revoke(&self.id, &RunContext::new()).await;
        self.ring.close().await;
        revoked.map(drop)
    }
}
