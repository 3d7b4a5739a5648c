//! Ingest jobs as they are kept: which documents were sent, and what became of each.
//!
//! A job is one record. The documents of a job are done with in their order, so the record also tells the events of the job.

use std::sync::Arc;

use agentkit_core::{
    CollectionName, DocumentId, MAX_RECORDS, Result, RunContext, StateChange, StateQuery, StateSpace,
    StateStore, TenantScope,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::records;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobStatus {
    /// Other jobs come first.
    Waiting,
    /// It is being worked on.
    Running,
    /// Every document is done with, stored or not.
    Done,
    /// Somebody stopped it; what is stored stays.
    Cancelled,
    /// The service was stopped before its end; what is stored stays, the rest has to be sent again.
    Interrupted,
}

impl JobStatus {
    pub(crate) fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SentStatus {
    /// Nothing yet.
    Waiting,
    /// It is stored.
    Stored,
    /// It was stored just so and was left alone.
    Unchanged,
    /// It is not stored; `detail` says why.
    Failed,
    /// The job was stopped. If that was in the moment of storing it, it may be stored.
    Cancelled,
    /// The service was stopped. If that was in the moment of storing it, it is stored; sent again, it is not embedded again.
    Interrupted,
}

impl SentStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Stored => "stored",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A document of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SentDocument {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) id: DocumentId,
    /// What became of it.
    pub(crate) status: SentStatus,
    /// Why it is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// Pieces it is searched by, if it was written.
    #[serde(default)]
    pub(crate) chunks: u64,
    /// Pieces that had to be embedded.
    #[serde(default)]
    pub(crate) embedded: u64,
}

impl SentDocument {
    pub(crate) fn new(id: DocumentId, status: SentStatus) -> Self {
        Self { id, status, detail: None, chunks: 0, embedded: 0 }
    }
}

/// Documents of a job by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// All of them.
    pub(crate) documents: usize,
    /// Those that are done with.
    pub(crate) ended: usize,
    /// Those that are stored.
    pub(crate) stored: usize,
    /// Those that were stored just so.
    pub(crate) unchanged: usize,
    /// Those that could not be stored.
    pub(crate) failed: usize,
}

/// A job that stores documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ingest {
    /// Its name; later jobs have greater ones.
    pub(crate) id: String,
    pub(crate) collection: CollectionName,
    /// Who sent the documents.
    pub(crate) pseudonym: Arc<str>,
    pub(crate) status: JobStatus,
    pub(crate) created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finished: Option<Timestamp>,
    /// In the order in which they are done with.
    pub(crate) documents: Vec<SentDocument>,
}

impl Ingest {
    /// Ends the job; what it had not done with has this `status` then.
    pub(crate) fn end(&mut self, status: JobStatus, now: Option<Timestamp>) {
        let left = match status {
            JobStatus::Cancelled => SentStatus::Cancelled,
            _ => SentStatus::Interrupted,
        };
        self.status = status;
        self.finished = now;
        for document in &mut self.documents {
            if document.status == SentStatus::Waiting {
                document.status = left;
            }
        }
    }

    /// The job as it is if nobody works on it any more.
    pub(crate) fn left(mut self) -> Self {
        if !self.status.is_over() {
            self.end(JobStatus::Interrupted, None);
        }
        self
    }

    pub(crate) fn progress(&self) -> Progress {
        let of = |status| self.documents.iter().filter(|document| document.status == status).count();
        Progress {
            documents: self.documents.len(),
            ended: self.documents.len() - of(SentStatus::Waiting),
            stored: of(SentStatus::Stored),
            unchanged: of(SentStatus::Unchanged),
            failed: of(SentStatus::Failed),
        }
    }

    /// The change that writes it down.
    pub(crate) fn put(&self, scope: &TenantScope) -> Result<StateChange> {
        Ok(StateChange::put(space(scope), self.id.as_str(), records::encode(self)?))
    }
}

/// The change that forgets a job.
pub(crate) fn delete(scope: &TenantScope, id: &str) -> StateChange {
    StateChange::delete(space(scope), id)
}

/// The job of this id.
pub(crate) async fn find(
    store: &dyn StateStore,
    scope: &TenantScope,
    id: &str,
    ctx: &RunContext,
) -> Result<Option<Ingest>> {
    Ok(records::load(store, &space(scope), id, ctx).await?.map(|kept| kept.value))
}

/// The jobs of a tenant, the oldest first; there are never more than a store gives at once.
pub(crate) async fn all(
    store: &dyn StateStore,
    scope: &TenantScope,
    ctx: &RunContext,
) -> Result<Vec<Ingest>> {
    let found = records::page(store, &space(scope), &StateQuery::new(MAX_RECORDS), ctx).await?;
    Ok(found.into_iter().map(|kept| kept.value).collect())
}

fn space(scope: &TenantScope) -> StateSpace {
    StateSpace::of_tenant("ingest-jobs", scope)
}
