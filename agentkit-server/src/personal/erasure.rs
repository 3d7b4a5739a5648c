//! Erases a person as a job that is written down, so that a crash only holds it up.
//!
//! The commit that makes the job also deletes who the pseudonym is. From then on the person has a new one, and
//! everything under the old one is nobody's and is removed: conversations, feedback, documents. A request that had begun
//! before may still write under the old one, so the job waits for the longest of them and looks again.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{
    Error, MAX_RECORDS, Result, RunContext, StateChange, StateCondition, StateQuery, StateRecord, StateSpace,
    TenantId, TenantScope,
};
use serde::{Deserialize, Serialize};

use super::{Personal, Upload, idempotent_of, place};
use crate::Services;
use crate::clock::{Clock, Timestamp};
use crate::identity::random_hex;
use crate::jobs;
use crate::people::People;
use crate::records::{self, Kept};

/// Things removed between two looks.
const BATCH: usize = 100;

/// Work that goes on after the answer to the request that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Its name.
    pub(crate) id: String,
    /// What it does: `erase`.
    pub(crate) kind: String,
    /// `running` or `done`.
    pub(crate) status: String,
    /// When it was asked for.
    pub(crate) created: Timestamp,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finished: Option<Timestamp>,
    /// Under which name the things to be removed are kept.
    pub(crate) pseudonym: Arc<str>,
}

/// Makes and runs the jobs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Erasure {
    pub(crate) services: Services,
    pub(crate) people: People,
    pub(crate) clock: Clock,
    /// How long requests may still write under the old pseudonym.
    pub(crate) wait: Duration,
}

impl Erasure {
    /// Makes the job that erases `subject`, who is forgotten when this returns.
    pub(crate) async fn begin(&self, tenant: &TenantId, subject: &str, ctx: &RunContext) -> Result<Job> {
        let scope = TenantScope::for_tenant(tenant.clone());
        let job = Job {
            id: random_hex::<16>()?,
            kind: "erase".into(),
            status: "running".into(),
            created: self.clock.now(),
            finished: None,
            pseudonym: self.people.pseudonym(tenant, subject, ctx).await?,
        };
        let changes = vec![
            StateChange::put(jobs(&scope), job.id.as_str(), records::encode(&job)?)
                .when(StateCondition::Absent),
            StateChange::put(unfinished(), job.id.as_str(), tenant.as_str()),
            People::forgets(tenant, subject),
        ];
        self.services.state.commit(changes, ctx).await?;
        self.people.forgotten(tenant, subject);
        Ok(job)
    }

    /// The job `id` of the tenant.
    pub(crate) async fn find(&self, scope: &TenantScope, id: &str, ctx: &RunContext) -> Result<Option<Job>> {
        let found = records::load(&*self.services.state, &jobs(scope), id, ctx).await?;
        Ok(found.map(|kept| kept.value))
    }

    /// Goes on with every job that is not done.
    pub(crate) async fn resume(&self, ctx: &RunContext) -> Result<()> {
        let open = self.services.state.list(&unfinished(), &StateQuery::new(MAX_RECORDS), ctx).await?;
        let jobs = open.iter().map(|record| async move {
            self.run(&TenantId::new(record.value.as_str())?, &record.id, ctx).await
        });
        // All at once: none waits out the pause of another, and one that fails holds up no other.
        futures_util::future::join_all(jobs).await.into_iter().collect()
    }

    /// Does the job to its end. What is removed already is not looked for again, so it may be done anew at any time.
    pub(crate) async fn run(&self, tenant: &TenantId, id: &str, ctx: &RunContext) -> Result<()> {
        let scope = TenantScope::for_tenant(tenant.clone());
        let missing = || Error::corrupt(format!("the job {id} is written down as open but not there"));
        let found = records::load::<Job>(&*self.services.state, &jobs(&scope), id, ctx).await?;
        let Kept { value: mut job, .. } = found.ok_or_else(missing)?;
        let personal = self.personal(scope.clone(), job.pseudonym.clone());
        personal.erase(ctx).await?;
        ctx.sleep(self.wait).await?;
        personal.erase(ctx).await?;
        job.status = "done".into();
        job.finished = Some(self.clock.now());
        let changes = vec![
            StateChange::put(jobs(&scope), id, records::encode(&job)?),
            StateChange::delete(unfinished(), id),
        ];
        self.services.state.commit(changes, ctx).await
    }

    fn personal(&self, home: TenantScope, pseudonym: Arc<str>) -> Personal {
        let Services { memory, state, documents, .. } = self.services.clone();
        Personal { memory, state, documents, home, pseudonym }
    }
}

impl Personal {
    async fn erase(&self, ctx: &RunContext) -> Result<()> {
        self.erase_sessions(ctx).await?;
        self.erase_feedback(ctx).await?;
        self.erase_jobs(ctx).await?;
        self.erase_responses(ctx).await?;
        self.erase_answers(ctx).await?;
        self.erase_documents(ctx).await
    }

    async fn erase_sessions(&self, ctx: &RunContext) -> Result<()> {
        loop {
            let page = self.sessions(None, BATCH, ctx).await?;
            for entry in &page {
                self.forget(&entry.id, ctx).await?;
            }
            if page.is_empty() {
                return Ok(());
            }
        }
    }

    async fn erase_feedback(&self, ctx: &RunContext) -> Result<()> {
        loop {
            let page = self.feedback("", BATCH, ctx).await?;
            if page.is_empty() {
                return Ok(());
            }
            let delete = |kept: Kept<_>| StateChange::delete(self.feedback_space(), kept.id);
            self.state.commit(page.into_iter().map(delete).collect(), ctx).await?;
        }
    }

    async fn erase_jobs(&self, ctx: &RunContext) -> Result<()> {
        let all = jobs::all(&*self.state, &self.home, ctx).await?;
        let theirs = all.iter().filter(|job| job.pseudonym == self.pseudonym);
        let changes: Vec<_> = theirs.map(|job| jobs::delete(&self.home, &job.id)).collect();
        if changes.is_empty() { Ok(()) } else { self.state.commit(changes, ctx).await }
    }

    async fn erase_responses(&self, ctx: &RunContext) -> Result<()> {
        loop {
            let page = self.responses("", BATCH, ctx).await?;
            if page.is_empty() {
                return Ok(());
            }
            let delete = |kept: Kept<_>| StateChange::delete(self.responses_space(), kept.id);
            self.state.commit(page.into_iter().map(delete).collect(), ctx).await?;
        }
    }

    /// Removes the answers to their idempotency keys, which may hold what they were told.
    async fn erase_answers(&self, ctx: &RunContext) -> Result<()> {
        let (space, query) = (idempotent_of(&self.home), StateQuery::new(BATCH).prefix(self.own("")));
        loop {
            let page = self.state.list(&space, &query, ctx).await?;
            if page.is_empty() {
                return Ok(());
            }
            let delete = |record: StateRecord| StateChange::delete(space.clone(), record.id);
            self.state.commit(page.into_iter().map(delete).collect(), ctx).await?;
        }
    }

    async fn erase_documents(&self, ctx: &RunContext) -> Result<()> {
        loop {
            let page = self.uploaded_by_them("", BATCH, ctx).await?;
            let Some(Upload { collection, .. }) = page.first() else { return Ok(()) };
            // One collection at a time, since removing from the files is work for a whole one.
            let scope = self.home.in_collection(collection.clone());
            let same: Vec<_> = page.iter().take_while(|upload| upload.collection == *collection).collect();
            let theirs = same.iter().filter(|upload| upload.theirs);
            let ids: Vec<_> = theirs.map(|upload| upload.id.clone()).collect();
            if !ids.is_empty() {
                self.documents.forget(&scope, &ids, ctx).await?;
            }
            let theirs =
                ids.iter().map(|id| StateChange::delete(self.uploaders_space(), place(collection, id)));
            let own = same.iter().map(|upload| &*upload.record);
            let own = own.map(|record| StateChange::delete(self.uploads_space(), record));
            self.state.commit(own.chain(theirs).collect(), ctx).await?;
        }
    }
}

fn jobs(scope: &TenantScope) -> StateSpace {
    StateSpace::of_tenant("jobs", scope)
}

/// The jobs of all tenants that are not done.
fn unfinished() -> StateSpace {
    StateSpace::of_service("unfinished-jobs")
}
