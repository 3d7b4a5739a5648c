//! Everything that is kept of a person, as lines of JSON.

use agentkit_core::{Result, RunContext};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{MAX_MESSAGES, Personal, Upload};
use crate::audit::AuditLog;
use crate::jobs;

/// Things read at once.
const BATCH: usize = 100;

/// Where the lines go.
pub(crate) type Lines = mpsc::Sender<String>;

impl Personal {
    /// Sends a line for every conversation, feedback, uploaded document, job, response and audit record of the person.
    pub(crate) async fn export(&self, audit: &AuditLog, lines: &Lines, ctx: &RunContext) -> Result<()> {
        self.export_sessions(lines, ctx).await?;
        self.export_feedback(lines, ctx).await?;
        self.export_documents(lines, ctx).await?;
        self.export_jobs(lines, ctx).await?;
        self.export_responses(lines, ctx).await?;
        self.export_audit(audit, lines, ctx).await
    }

    async fn export_sessions(&self, lines: &Lines, ctx: &RunContext) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.sessions(after.as_ref(), BATCH, ctx).await?;
            for entry in &page {
                if let Some((title, messages)) = self.conversation(&entry.id, MAX_MESSAGES, ctx).await? {
                    let session = json!({"id": entry.id, "title": title, "messages": messages});
                    send(lines, "session", &session, ctx).await?;
                }
            }
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
        }
    }

    async fn export_feedback(&self, lines: &Lines, ctx: &RunContext) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = self.feedback(&after, BATCH, ctx).await?;
            for kept in &page {
                send(lines, "feedback", &kept.value, ctx).await?;
            }
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.id);
        }
    }

    async fn export_documents(&self, lines: &Lines, ctx: &RunContext) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = self.uploaded_by_them(&after, BATCH, ctx).await?;
            for Upload { collection, id, .. } in page.iter().filter(|upload| upload.theirs) {
                let document =
                    self.documents.get(&self.home.in_collection(collection.clone()), id, ctx).await?;
                let uploaded = json!({"collection": collection, "id": id, "document": document});
                send(lines, "document", &uploaded, ctx).await?;
            }
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.record);
        }
    }

    async fn export_jobs(&self, lines: &Lines, ctx: &RunContext) -> Result<()> {
        let all = jobs::all(&*self.state, &self.home, ctx).await?;
        for job in all.iter().filter(|job| job.pseudonym == self.pseudonym) {
            send(lines, "job", job, ctx).await?;
        }
        Ok(())
    }

    async fn export_responses(&self, lines: &Lines, ctx: &RunContext) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = self.responses(&after, BATCH, ctx).await?;
            for kept in &page {
                send(lines, "response", &kept.value, ctx).await?;
            }
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.id);
        }
    }

    async fn export_audit(&self, audit: &AuditLog, lines: &Lines, ctx: &RunContext) -> Result<()> {
        let mut after = 0;
        loop {
            let page = audit.list(&self.home, after, BATCH, ctx).await?;
            for record in page.iter().filter(|record| record.event.actor == *self.pseudonym) {
                send(lines, "audit", record, ctx).await?;
            }
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
        }
    }
}

/// Sends `value` with its type, or stops if nobody reads any more.
pub(super) async fn send(lines: &Lines, kind: &str, value: &impl Serialize, ctx: &RunContext) -> Result<()> {
    let mut value = serde_json::to_value(value)
        .map_err(|error| agentkit_core::Error::internal("write a line").with_source(error))?;
    if let Value::Object(members) = &mut value {
        members.insert("type".into(), kind.into());
    }
    let sent = async {
        lines.send(format!("{value}\n")).await.map_err(|_| {
            agentkit_core::Error::new(agentkit_core::ErrorKind::Cancelled, "nobody reads the export any more")
        })
    };
    ctx.run(sent).await
}
