//! The suite of the state store contract catches stores that break it.

use agentkit_core::testing::conformance;
use agentkit_core::{
    MemoryState, Result, RunContext, StateChange, StateCondition, StateQuery, StateRecord, StateSpace,
    StateStore,
};
use async_trait::async_trait;

use crate::broken::caught;

#[derive(Debug, Clone, Copy)]
enum Flaw {
    IgnoresConditions,
    CommitsOneByOne,
    SharesTenants,
    KeepsWhatIsDeleted,
    ForgetsTheRevision,
    ListsFromTheStart,
    IgnoresThePrefix,
    IgnoresItsContext,
    TakesLongIds,
}

struct Broken(MemoryState, Flaw);

impl Broken {
    fn space(&self, space: &StateSpace) -> StateSpace {
        match self.1 {
            Flaw::SharesTenants => StateSpace::of_service(space.kind()),
            _ => space.clone(),
        }
    }
}

#[async_trait]
impl StateStore for Broken {
    async fn get(&self, space: &StateSpace, id: &str, ctx: &RunContext) -> Result<Option<StateRecord>> {
        let found = self.0.get(&self.space(space), id, ctx).await?;
        Ok(match self.1 {
            Flaw::ForgetsTheRevision => found.map(|found| StateRecord::new(found.id, 1, found.value)),
            _ => found,
        })
    }

    async fn list(
        &self,
        space: &StateSpace,
        query: &StateQuery,
        ctx: &RunContext,
    ) -> Result<Vec<StateRecord>> {
        let mut query = query.clone();
        match self.1 {
            Flaw::ListsFromTheStart => query.after = None,
            Flaw::IgnoresThePrefix => query.prefix.clear(),
            _ => {}
        }
        self.0.list(&self.space(space), &query, ctx).await
    }

    async fn commit(&self, mut changes: Vec<StateChange>, ctx: &RunContext) -> Result<()> {
        for change in &mut changes {
            change.space = self.space(&change.space);
        }
        match self.1 {
            Flaw::IgnoresConditions => {
                for change in &mut changes {
                    change.condition = StateCondition::None;
                }
            }
            Flaw::CommitsOneByOne => {
                for change in changes {
                    self.0.commit(vec![change], ctx).await?;
                }
                return Ok(());
            }
            Flaw::KeepsWhatIsDeleted => changes.retain(|change| change.value.is_some()),
            Flaw::IgnoresItsContext => return self.0.commit(changes, &RunContext::new()).await,
            Flaw::TakesLongIds => {
                for change in &mut changes {
                    change.id.truncate(2048);
                }
            }
            _ => {}
        }
        self.0.commit(changes, ctx).await
    }
}

#[tokio::test]
async fn a_broken_state_store_is_caught() {
    for (flaw, expected) in [
        (Flaw::IgnoresConditions, "is no conflict"),
        (Flaw::CommitsOneByOne, "a part of a refused commit is there"),
        (Flaw::SharesTenants, "from another space"),
        (Flaw::KeepsWhatIsDeleted, "a deleted record is still there"),
        (Flaw::ForgetsTheRevision, "a record was not replaced"),
        (Flaw::ListsFromTheStart, "a page does not go on"),
        (Flaw::IgnoresThePrefix, "a prefix does not select"),
        (Flaw::IgnoresItsContext, "succeeded although its context was stopped"),
        (Flaw::TakesLongIds, "an id that is too long is taken"),
    ] {
        let suite = conformance::state_store(|| async move { Broken(MemoryState::new(), flaw) });
        caught(suite, expected).await;
    }
}

#[tokio::test]
async fn the_memory_state_conforms() {
    conformance::state_store(|| async { MemoryState::new() }).await;
}
