//! Records kept in this process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    MAX_RECORDS, StateChange, StateCondition, StateQuery, StateRecord, StateSpace, StateStore, check_changes,
};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};

/// Most records of a space.
const MAX_HELD: usize = 100_000;

/// Keeps records until it is dropped: enough for tests and for a service that has nothing to remember.
///
/// It holds 100,000 records of each space at most.
///
/// # Examples
/// ```
/// use agentkit_core::{MemoryState, RunContext, StateChange, StateSpace, StateStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (store, ctx, space) = (MemoryState::new(), RunContext::new(), StateSpace::of_service("keys"));
/// store.commit(vec![StateChange::put(space.clone(), "k1", "{}")], &ctx).await.unwrap();
/// assert_eq!(store.get(&space, "k1", &ctx).await.unwrap().unwrap().revision, 1);
/// # });
/// ```
#[derive(Debug, Default)]
pub struct MemoryState {
    spaces: Mutex<Spaces>,
}

type Space = BTreeMap<String, StateRecord>;
type Spaces = BTreeMap<StateSpace, Space>;

impl MemoryState {
    /// A store without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn spaces(&self) -> MutexGuard<'_, Spaces> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn get(&self, space: &StateSpace, id: &str, ctx: &RunContext) -> Result<Option<StateRecord>> {
        ctx.check()?;
        Ok(self.spaces().get(space).and_then(|records| records.get(id)).cloned())
    }

    async fn list(
        &self,
        space: &StateSpace,
        query: &StateQuery,
        ctx: &RunContext,
    ) -> Result<Vec<StateRecord>> {
        ctx.check()?;
        let spaces = self.spaces();
        let Some(records) = spaces.get(space) else { return Ok(Vec::new()) };
        let behind = query.after.as_deref().filter(|after| *after >= query.prefix.as_str());
        let start = behind.map_or(Bound::Included(query.prefix.as_str()), Bound::Excluded);
        let found = records.range::<str, _>((start, Bound::Unbounded)).map(|(_, record)| record);
        let found = found.take_while(|record| record.id.starts_with(&query.prefix));
        Ok(found.take(query.limit.min(MAX_RECORDS)).cloned().collect())
    }

    async fn commit(&self, changes: Vec<StateChange>, ctx: &RunContext) -> Result<()> {
        ctx.check()?;
        check_changes(&changes)?;
        let mut spaces = self.spaces();
        for change in &changes {
            let held = spaces.get(&change.space);
            check(change, held.and_then(|records| records.get(&change.id)))?;
            if held.is_some_and(|records| records.len() >= MAX_HELD) && change.value.is_some() {
                let message = format!("this store holds {MAX_HELD} records of a kind at most");
                return Err(Error::new(ErrorKind::ResourceExhausted, message));
            }
        }
        for change in changes {
            apply(spaces.entry(change.space).or_default(), change.id, change.value);
        }
        Ok(())
    }
}

fn check(change: &StateChange, held: Option<&StateRecord>) -> Result<()> {
    let met = match change.condition {
        StateCondition::None => true,
        StateCondition::Absent => held.is_none(),
        StateCondition::Revision(revision) => held.is_some_and(|record| record.revision == revision),
    };
    if met {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, format!("somebody else has changed the record {:?}", change.id)))
}

fn apply(records: &mut Space, id: String, value: Option<String>) {
    let Some(value) = value else {
        records.remove(&id);
        return;
    };
    let revision = records.get(&id).map_or(1, |record| record.revision + 1);
    records.insert(id.clone(), StateRecord { id, revision, value });
}
