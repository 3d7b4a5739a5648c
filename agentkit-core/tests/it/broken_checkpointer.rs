//! The suite of the checkpointer contract catches stores that break it.

use agentkit_core::testing::conformance;
use agentkit_core::{
    Checkpoint, Checkpointer, MemoryCheckpointer, Result, RunContext, RunId, RunKey, RunSummary, SessionKey,
    TenantId, TenantScope,
};
use async_trait::async_trait;

use crate::broken::caught;

#[derive(Debug, Clone, Copy)]
enum Flaw {
    OverwritesAnything,
    StoresWhatItRefuses,
    LetsTwoWin,
    SharesTenants,
    KeepsWhatIsRemoved,
    ForgetsTheRevision,
    ForgetsTooMuch,
    LosesTheSession,
    ListsFromTheStart,
    IgnoresItsContext,
    SplitsByCollection,
}

struct Broken(MemoryCheckpointer, Flaw);

impl Broken {
    fn key(&self, key: &RunKey) -> RunKey {
        let scope = match self.1 {
            Flaw::SharesTenants => TenantScope::local(),
            Flaw::SplitsByCollection => {
                let name = format!("{}-{}", key.scope().tenant(), key.scope().collection());
                TenantScope::for_tenant(TenantId::new(name).unwrap())
            }
            _ => key.scope().clone(),
        };
        RunKey::new(scope, key.run().clone())
    }

    /// Stores `checkpoint` whatever is there.
    async fn force(&self, key: &RunKey, checkpoint: Checkpoint) -> Result<()> {
        let ctx = RunContext::new();
        self.0.remove(key, &ctx).await?;
        for revision in 1..checkpoint.revision.min(9) {
            self.0.save(key, Checkpoint::new(revision, ""), &ctx).await?;
        }
        self.0.save(key, checkpoint, &ctx).await
    }
}

#[async_trait]
impl Checkpointer for Broken {
    async fn save(&self, key: &RunKey, checkpoint: Checkpoint, ctx: &RunContext) -> Result<()> {
        let key = self.key(key);
        let fresh = RunContext::new();
        match self.1 {
            Flaw::OverwritesAnything => {
                ctx.check()?;
                self.force(&key, checkpoint).await
            }
            Flaw::StoresWhatItRefuses => {
                let result = self.0.save(&key, checkpoint.clone(), ctx).await;
                if result.is_err() && checkpoint.revision == 2 {
                    self.force(&key, checkpoint).await?;
                }
                result
            }
            Flaw::LetsTwoWin if checkpoint.state == "1" => {
                ctx.check()?;
                self.force(&key, checkpoint).await
            }
            Flaw::IgnoresItsContext => self.0.save(&key, checkpoint, &fresh).await,
            _ => self.0.save(&key, checkpoint, ctx).await,
        }
    }

    async fn load(&self, key: &RunKey, ctx: &RunContext) -> Result<Option<Checkpoint>> {
        let found = self.0.load(&self.key(key), ctx).await?;
        Ok(match self.1 {
            Flaw::ForgetsTheRevision => {
                found.map(|found| Checkpoint::new(1, found.state).session(found.session))
            }
            Flaw::LosesTheSession => found.map(|found| found.session(None)),
            _ => found,
        })
    }

    async fn runs(
        &self,
        scope: &TenantScope,
        after: Option<&RunId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<RunSummary>> {
        let scope = self.key(&RunKey::new(scope.clone(), RunId::new("any").unwrap())).scope().clone();
        let after = if matches!(self.1, Flaw::ListsFromTheStart) { None } else { after };
        self.0.runs(&scope, after, limit, ctx).await
    }

    async fn remove(&self, key: &RunKey, ctx: &RunContext) -> Result<bool> {
        let key = self.key(key);
        match self.1 {
            Flaw::KeepsWhatIsRemoved => Ok(self.0.load(&key, ctx).await?.is_some()),
            _ => self.0.remove(&key, ctx).await,
        }
    }

    async fn forget(&self, session: &SessionKey, ctx: &RunContext) -> Result<u64> {
        if matches!(self.1, Flaw::ForgetsTooMuch) {
            for listed in self.0.runs(session.scope(), None, 100, ctx).await? {
                self.0.remove(&RunKey::new(session.scope().clone(), listed.run), ctx).await?;
            }
            return Ok(3);
        }
        let scope =
            self.key(&RunKey::new(session.scope().clone(), RunId::new("any").unwrap())).scope().clone();
        self.0.forget(&SessionKey::new(scope, session.session().clone()), ctx).await
    }
}

#[tokio::test]
async fn a_broken_checkpointer_is_caught() {
    for (flaw, expected) in [
        (Flaw::OverwritesAnything, "must be refused as a conflict"),
        (Flaw::StoresWhatItRefuses, "although it was refused"),
        (Flaw::LetsTwoWin, "writers of the same revision succeeded"),
        (Flaw::SharesTenants, "reads another tenant's run"),
        (Flaw::KeepsWhatIsRemoved, "a removed run is still there"),
        (Flaw::ForgetsTheRevision, "did not come back as it was saved"),
        (Flaw::ForgetsTooMuch, "left the wrong runs"),
        (Flaw::LosesTheSession, "without its session"),
        (Flaw::ListsFromTheStart, "each of them once"),
        (Flaw::IgnoresItsContext, "succeeded although its context was stopped"),
        (Flaw::SplitsByCollection, "not found from another collection"),
    ] {
        let suite = conformance::checkpointer(|| async move { Broken(MemoryCheckpointer::new(), flaw) });
        caught(suite, expected).await;
    }
}

#[tokio::test]
async fn the_memory_checkpointer_conforms() {
    conformance::checkpointer(|| async { MemoryCheckpointer::new() }).await;
}
