//! The work of a job: its documents read, stored and settled, in their order.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_core::{Error, RunContext, TenantScope, TraceContext};
use futures_util::{StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;

use super::{Entered, Live, Source};
use crate::documents::Upserted;
use crate::http::documents::store;
use crate::http::problem::Problem;
use crate::http::state::{Permit, Write};
use crate::jobs::{Ingest, JobStatus, SentDocument, SentStatus};

/// Documents of a job on their way at once; their commits are shared.
const AT_ONCE: usize = 4;
/// How long writing a record down may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest detail that is kept of a document, in bytes.
const MAX_DETAIL_BYTES: usize = 512;
/// What stands in the audit trail for a document of a job.
const ACTION: &str = "JOB /documents/{id}";
/// The outcome of a document whose job was stopped.
const LEFT: u16 = 499;

/// What a job works with.
pub(super) struct Work {
    pub(super) entered: Entered,
    pub(super) permit: Permit<Write>,
    pub(super) scope: TenantScope,
    pub(super) trace: TraceContext,
}

impl Work {
    /// Does the job to its end, or until it is stopped or the service is.
    pub(super) async fn run(self, sources: Vec<Source>, room: OwnedSemaphorePermit) {
        let work = Arc::new(self);
        let mut driven = pin!(work.clone().drive(sources));
        tokio::select! {
            () = driven.as_mut() => {}
            () = work.permit.draining() => {
                work.live().ctx.cancel();
                driven.await;
            }
        }
        drop(room);
        work.end().await;
    }

    fn live(&self) -> &Live {
        &self.entered.live
    }

    async fn drive(self: Arc<Self>, sources: Vec<Source>) {
        let turns = self.entered.jobs.turns.clone();
        let turn = async { turns.acquire_owned().await.map_err(|_| Error::internal("wait for a turn")) };
        let Ok(_turn) = self.live().ctx.run(turn).await else { return };
        self.change(|job| job.status = JobStatus::Running).await;
        let ways = sources.into_iter().map(|source| self.clone().settle(source));
        let mut ended = stream::iter(ways).buffered(AT_ONCE).enumerate();
        while let Some((at, document)) = ended.next().await {
            if document.status == SentStatus::Waiting {
                return;
            }
            self.permit.counts(document.status);
            self.change(|job| {
                if let Some(place) = job.documents.get_mut(at) {
                    *place = document;
                }
            })
            .await;
        }
    }

    async fn end(&self) {
        let now = self.permit.now();
        let cancelled = self.live().cancelled.load(Ordering::Relaxed);
        let stopped = if cancelled { JobStatus::Cancelled } else { JobStatus::Interrupted };
        self.change(|job| {
            let whole = job.documents.iter().all(|document| document.status != SentStatus::Waiting);
            job.end(if whole { JobStatus::Done } else { stopped }, Some(now));
        })
        .await;
    }

    /// Writes the job down as it is after `change`, then shows it.
    async fn change(&self, change: impl FnOnce(&mut Ingest)) {
        let mut job = self.live().job.borrow().clone();
        change(&mut job);
        if !self.live().forgotten.load(Ordering::Relaxed)
            && let Err(error) = self.save(&job).await
        {
            tracing::warn!(error = error.chain(), job = job.id, "a job could not be written down");
        }
        self.live().job.send_replace(job);
    }

    async fn save(&self, job: &Ingest) -> Result<(), Error> {
        // A context of its own, because a job that is stopped is written down as well.
        let ctx = RunContext::new().with_timeout(PATIENCE);
        ctx.run(self.entered.jobs.store.commit(vec![job.put(&self.scope)?], &ctx)).await
    }

    /// Stores a document, and writes down who did so; one that is still `Waiting` was stopped.
    async fn settle(self: Arc<Self>, source: Source) -> SentDocument {
        let (id, ctx) = (source.id.clone(), &self.live().ctx);
        if ctx.check().is_err() {
            return SentDocument::new(id, SentStatus::Waiting);
        }
        let stored = self.store(source).await;
        let stopped = stored.is_err() && ctx.check().is_err();
        let outcome = match &stored {
            Ok(_) => 200,
            Err(_) if stopped => LEFT,
            Err(problem) => problem.kind().status().as_u16(),
        };
        let noted = self.permit.note_of(ACTION, &id, outcome, &self.trace).await;
        if let Err(error) = noted {
            tracing::error!(error = error.chain(), "an audit record could not be written");
        }
        match stored {
            Ok(stored) => written(SentDocument::new(id, SentStatus::Stored), stored),
            Err(_) if stopped => SentDocument::new(id, SentStatus::Waiting),
            Err(problem) => {
                let detail = Some(shortened(problem.detail()).to_owned());
                SentDocument { detail, ..SentDocument::new(id, SentStatus::Failed) }
            }
        }
    }

    async fn store(&self, source: Source) -> Result<Upserted, Problem> {
        let ctx = &self.live().ctx;
        let document = ctx.run_blocking(move |_| Ok((source.read)())).await??;
        Ok(ctx.run(store(&self.permit, &self.scope, document, ctx)).await?)
    }
}

fn written(document: SentDocument, Upserted { unchanged, chunks, embedded, .. }: Upserted) -> SentDocument {
    let status = if unchanged > 0 { SentStatus::Unchanged } else { SentStatus::Stored };
    SentDocument { status, chunks, embedded, ..document }
}

fn shortened(detail: &str) -> &str {
    let end = (0..=MAX_DETAIL_BYTES.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end));
    detail.get(..end.unwrap_or_default()).unwrap_or_default()
}
