//! The wire forms of jobs and of their events.

use agentkit_core::DocumentId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::Timestamp;
use crate::http::wire::PutDocument;
use crate::jobs::{Ingest, JobStatus, Progress, SentDocument, SentStatus};
use crate::personal::Job;

/// Documents to be stored by a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BeginJob {
    /// The documents, 1 to 256.
    #[schema(min_items = 1, max_items = 256)]
    pub(super) documents: Vec<NamedDocument>,
}

/// A document and its id.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NamedDocument {
    /// 1 to 512 bytes.
    #[schema(value_type = crate::http::schema::IdSchema)]
    pub(super) id: DocumentId,
    /// What `PUT /documents/{id}` takes.
    pub(super) document: PutDocument,
}

/// Files to be stored by a job. Only documentation: a form is read as it comes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the schema of this type is used")]
pub(in crate::http) struct BeginJobForm {
    /// The files; the filename of each is its document's id.
    #[schema(format = Binary)]
    file: Vec<String>,
}

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListJobs {
    /// Start behind this job: the `next` of the page before.
    pub(super) after: Option<String>,
    /// Most jobs to list, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
}

/// A page of the list of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct JobPage {
    /// The jobs, the newest first.
    pub(super) jobs: Vec<JobEntry>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// Work that goes on after the answer to the request that asked for it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct JobEntry {
    /// Its id.
    pub(super) id: String,
    /// What it does: `ingest` or `erase`.
    pub(super) kind: &'static str,
    /// `waiting`, `running`, `done`, `cancelled` or `interrupted`.
    pub(super) status: JobStatus,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub(super) created: Timestamp,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) finished: Option<Timestamp>,
    /// Where an ingest stores its documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) collection: Option<String>,
    /// How far an ingest is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Progress>,
    /// The documents of an ingest, in their order; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) documents: Option<Vec<SentDocument>>,
}

impl From<Job> for JobEntry {
    fn from(Job { id, status, created, finished, .. }: Job) -> Self {
        let status = if status == "done" { JobStatus::Done } else { JobStatus::Running };
        let (kind, collection, progress, documents) = ("erase", None, None, None);
        Self { id, kind, status, created, finished, collection, progress, documents }
    }
}

impl JobEntry {
    /// An ingest without its documents.
    pub(super) fn in_list(job: &Ingest) -> Self {
        Self {
            id: job.id.clone(),
            kind: "ingest",
            status: job.status,
            created: job.created,
            finished: job.finished,
            collection: Some(job.collection.to_string()),
            progress: Some(job.progress()),
            documents: None,
        }
    }

    /// An ingest with everything.
    pub(super) fn whole(job: &Ingest) -> Self {
        Self { documents: Some(job.documents.clone()), ..Self::in_list(job) }
    }
}

/// What happened in a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::http) struct JobEvent {
    /// Position in the job, from 0 without gaps.
    pub(super) seq: usize,
    /// What happened.
    #[serde(flatten)]
    #[schema(inline)]
    pub(super) kind: JobEventKind,
}

/// What happened in a job: first `started`, then a `document` each, at last `done`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(in crate::http) enum JobEventKind {
    /// It is known what there is to do.
    Started {
        /// How many documents there are.
        documents: usize,
    },
    /// A document is done with.
    Document(SentDocument),
    /// The job is over.
    Done {
        /// How it ended.
        status: JobStatus,
        /// What became of its documents.
        progress: Progress,
    },
}

impl JobEventKind {
    /// The event's type.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Document(_) => "document",
            Self::Done { .. } => "done",
        }
    }
}

/// What there is at a place of a job's events.
pub(super) enum At {
    Event(JobEventKind),
    NothingYet,
    End,
}

/// The event at `place`, made of the job's record.
pub(super) fn at(job: &Ingest, place: usize) -> At {
    let count = job.documents.len();
    if place == 0 {
        return At::Event(JobEventKind::Started { documents: count });
    }
    match job.documents.get(place - 1) {
        Some(document) if document.status != SentStatus::Waiting => {
            At::Event(JobEventKind::Document(document.clone()))
        }
        None if place > count + 1 => At::End,
        None if job.status.is_over() => {
            At::Event(JobEventKind::Done { status: job.status, progress: job.progress() })
        }
        _ => At::NothingYet,
    }
}
