//! Pseudonyms: under which people stand in the audit trail, and own conversations and feedback.
//!
//! The one record that says who a pseudonym is can be deleted; what is kept under it then belongs to nobody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{
    ErrorKind, Result, RunContext, StateChange, StateCondition, StateSpace, StateStore, TenantId, TenantScope,
};
use moka::sync::Cache;

use crate::identity::random_hex;

/// People that are remembered in memory.
const MAX_KNOWN: u64 = 10_000;
/// How long they are remembered, and so how long somebody who was just forgotten may go by an old pseudonym.
pub(crate) const KNOWN: Duration = Duration::from_mins(1);

/// Everybody's pseudonym; cheap to clone.
#[derive(Clone)]
pub(crate) struct People {
    store: Arc<dyn StateStore>,
    known: Cache<(TenantId, String), Arc<str>>,
}

impl People {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self { store, known: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN).build() }
    }

    /// The pseudonym of somebody, a new one if they have none.
    pub(crate) async fn pseudonym(
        &self,
        tenant: &TenantId,
        subject: &str,
        ctx: &RunContext,
    ) -> Result<Arc<str>> {
        let person = (tenant.clone(), subject.to_owned());
        if let Some(known) = self.known.get(&person) {
            return Ok(known);
        }
        let pseudonym: Arc<str> = self.find_or_make(&space(tenant), subject, ctx).await?.into();
        self.known.insert(person, pseudonym.clone());
        Ok(pseudonym)
    }

    /// The change by which somebody's pseudonym becomes nobody's.
    pub(crate) fn forgets(tenant: &TenantId, subject: &str) -> StateChange {
        StateChange::delete(space(tenant), subject)
    }

    /// Forgets somebody in memory, once they are forgotten in the store.
    pub(crate) fn forgotten(&self, tenant: &TenantId, subject: &str) {
        self.known.invalidate(&(tenant.clone(), subject.to_owned()));
    }

    async fn find_or_make(&self, space: &StateSpace, subject: &str, ctx: &RunContext) -> Result<String> {
        loop {
            if let Some(found) = self.store.get(space, subject, ctx).await? {
                return Ok(found.value);
            }
            let new = format!("p-{}", random_hex::<8>()?);
            let put = StateChange::put(space.clone(), subject, new.as_str()).when(StateCondition::Absent);
            match self.store.commit(vec![put], ctx).await {
                Ok(()) => return Ok(new),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("People")
    }
}

fn space(tenant: &TenantId) -> StateSpace {
    StateSpace::of_tenant("people", &TenantScope::for_tenant(tenant.clone()))
}
