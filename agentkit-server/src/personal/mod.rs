//! What belongs to one person: their conversations, their feedback, and the documents they uploaded.
//!
//! All of it is kept under the person's pseudonym, which is the beginning of every id. So one person cannot name what is
//! another's, and all of it is found when it is to be exported or erased.

mod erasure;
mod export;
mod responses;

use std::fmt;
use std::sync::Arc;

use agentkit_core::{
    CollectionName, DocumentId, Error, MAX_RECORDS, Memory, Message, Result, RunContext, SessionId,
    SessionKey, StateChange, StateQuery, StateRecord, StateSpace, StateStore, TenantScope,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::erasure::{Erasure, Job};
pub(crate) use self::responses::{PREFIX as RESPONSE_PREFIX, StoredResponse};
use crate::clock::Timestamp;
use crate::documents::DocumentStore;
use crate::records::{self, Kept};

/// Longest id of a conversation, as its owner knows it, in bytes.
pub(crate) const MAX_SESSION_BYTES: usize = 256;
/// Longest title of a conversation in bytes.
const MAX_TITLE_BYTES: usize = 512;
/// Most messages of a conversation that are read at once.
const MAX_MESSAGES: usize = 10_000;

/// What was thought of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rating {
    /// It helped.
    Up,
    /// It did not.
    Down,
}

/// Feedback on an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Feedback {
    /// The answer's `trace_id`.
    pub(crate) turn: String,
    /// The conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) session_id: Option<SessionId>,
    /// What was thought of it.
    pub(crate) rating: Rating,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
}

/// A listed conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SessionEntry {
    /// Which conversation.
    #[schema(value_type = String)]
    pub(crate) id: SessionId,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// How many messages it holds.
    pub(crate) messages: u64,
}

/// A document that somebody uploaded or began to upload.
struct Upload {
    /// The id of the record that says so.
    record: String,
    collection: CollectionName,
    id: DocumentId,
    /// Whether it is not another's all the same, because the upload came to nothing.
    theirs: bool,
}

/// One person's things.
#[derive(Clone)]
pub(crate) struct Personal {
    pub(crate) memory: Arc<dyn Memory>,
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) documents: Arc<dyn DocumentStore>,
    pub(crate) home: TenantScope,
    pub(crate) pseudonym: Arc<str>,
}

impl Personal {
    /// The person's conversation `id`, as it is stored.
    pub(crate) fn session(&self, id: &SessionId) -> Result<SessionKey> {
        if id.as_str().len() > MAX_SESSION_BYTES {
            let message = format!("a session id may have {MAX_SESSION_BYTES} bytes at most");
            return Err(Error::invalid_input(message));
        }
        Ok(SessionKey::new(self.home.clone(), SessionId::new(self.own(id.as_str()))?))
    }

    /// The person's conversations by id, at most `limit` after `after`.
    pub(crate) async fn sessions(
        &self,
        after: Option<&SessionId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<SessionEntry>> {
        let behind = SessionId::new(self.own(after.map_or("", SessionId::as_str)))?;
        let found = self.memory.sessions(&self.home, Some(&behind), limit, ctx).await?;
        let mut entries = Vec::new();
        for summary in found {
            let Some(id) = summary.session.as_str().strip_prefix(&*self.own("")) else { break };
            let id = SessionId::new(id)?;
            let title = self.title(&id, ctx).await?;
            entries.push(SessionEntry { id, title, messages: summary.messages });
        }
        Ok(entries)
    }

    /// The newest `limit` messages of a conversation, and its title; `None` if there is no such conversation.
    pub(crate) async fn conversation(
        &self,
        id: &SessionId,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Option<(Option<String>, Vec<Message>)>> {
        let messages = self.memory.recall(&self.session(id)?, limit.min(MAX_MESSAGES), ctx).await?;
        if messages.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.title(id, ctx).await?, messages)))
    }

    /// Gives a conversation a title; says whether there is one.
    pub(crate) async fn rename(&self, id: &SessionId, title: &str, ctx: &RunContext) -> Result<bool> {
        if title.trim().is_empty() || title.len() > MAX_TITLE_BYTES {
            let message = format!("a title must have 1 to {MAX_TITLE_BYTES} bytes");
            return Err(Error::invalid_input(message));
        }
        if self.memory.recall(&self.session(id)?, 1, ctx).await?.is_empty() {
            return Ok(false);
        }
        let put = StateChange::put(self.titles(), self.own(id.as_str()), title);
        self.state.commit(vec![put], ctx).await?;
        Ok(true)
    }

    /// Deletes a conversation; says whether there was one.
    pub(crate) async fn forget(&self, id: &SessionId, ctx: &RunContext) -> Result<bool> {
        let existed = self.memory.forget(&self.session(id)?, ctx).await?;
        let title = StateChange::delete(self.titles(), self.own(id.as_str()));
        self.state.commit(vec![title], ctx).await?;
        Ok(existed)
    }

    /// Keeps feedback in the place of what the person said of the same answer before.
    pub(crate) async fn rate(&self, feedback: &Feedback, ctx: &RunContext) -> Result<()> {
        let id = self.own(&feedback.turn);
        let put = StateChange::put(self.feedback_space(), id, records::encode(feedback)?);
        self.state.commit(vec![put], ctx).await
    }

    /// The person's feedback by answer.
    async fn feedback(&self, after: &str, limit: usize, ctx: &RunContext) -> Result<Vec<Kept<Feedback>>> {
        let query = StateQuery::new(limit).prefix(self.own("")).after(after);
        records::page(&*self.state, &self.feedback_space(), &query, ctx).await
    }

    /// Notes that the person is about to upload a document: so none is without its uploader, whatever stops the service.
    /// Says whether that is new; who uploaded the document until now stays its uploader until this one is stored.
    pub(crate) async fn uploads(
        &self,
        scope: &TenantScope,
        id: &DocumentId,
        ctx: &RunContext,
    ) -> Result<bool> {
        let place = place(scope.collection(), id);
        if self.uploader(&place, ctx).await?.as_deref() == Some(&*self.pseudonym) {
            return Ok(false);
        }
        let claim = StateChange::put(self.uploads_space(), self.own(&place), "");
        self.state.commit(vec![claim], ctx).await?;
        Ok(true)
    }

    /// Notes that the upload is stored: the person is the document's uploader, in the place of another.
    pub(crate) async fn uploaded(
        &self,
        scope: &TenantScope,
        id: &DocumentId,
        ctx: &RunContext,
    ) -> Result<()> {
        let place = place(scope.collection(), id);
        let before = self.uploader(&place, ctx).await?;
        if before.as_deref() == Some(&*self.pseudonym) {
            return Ok(());
        }
        let mut changes = vec![
            StateChange::put(self.uploaders_space(), place.as_str(), &*self.pseudonym),
            StateChange::put(self.uploads_space(), self.own(&place), ""),
        ];
        let other = before.map(|before| format!("{before}/{place}"));
        changes.extend(other.map(|other| StateChange::delete(self.uploads_space(), other)));
        self.state.commit(changes, ctx).await
    }

    /// Notes that a new upload came to nothing.
    pub(crate) async fn gives_up(
        &self,
        scope: &TenantScope,
        id: &DocumentId,
        ctx: &RunContext,
    ) -> Result<()> {
        let claim = self.own(&place(scope.collection(), id));
        self.state.commit(vec![StateChange::delete(self.uploads_space(), claim)], ctx).await
    }

    /// Whose the document at `place` is.
    async fn uploader(&self, place: &str, ctx: &RunContext) -> Result<Option<String>> {
        let found = self.state.get(&self.uploaders_space(), place, ctx).await?;
        Ok(found.map(|record| record.value))
    }

    /// Notes that documents are deleted.
    pub(crate) async fn removed(
        &self,
        scope: &TenantScope,
        ids: &[DocumentId],
        ctx: &RunContext,
    ) -> Result<()> {
        // Two changes for each.
        for some in ids.chunks(MAX_RECORDS / 2) {
            let mut changes = Vec::new();
            for id in some {
                let place = place(scope.collection(), id);
                let Some(uploader) = self.uploader(&place, ctx).await? else { continue };
                let theirs = format!("{uploader}/{place}");
                changes.push(StateChange::delete(self.uploaders_space(), place));
                changes.push(StateChange::delete(self.uploads_space(), theirs));
            }
            if !changes.is_empty() {
                self.state.commit(changes, ctx).await?;
            }
        }
        Ok(())
    }

    /// The documents the person uploaded or began to upload, by collection and id.
    async fn uploaded_by_them(&self, after: &str, limit: usize, ctx: &RunContext) -> Result<Vec<Upload>> {
        let query = StateQuery::new(limit).prefix(self.own("")).after(after);
        let mut uploads = Vec::new();
        for StateRecord { id: record, .. } in self.state.list(&self.uploads_space(), &query, ctx).await? {
            let damaged = || Error::corrupt(format!("the record {record:?} of uploads is damaged"));
            let place = record.strip_prefix(&*self.own("")).ok_or_else(damaged)?;
            let (collection, id) = place.split_once('/').ok_or_else(damaged)?;
            let (collection, id) = (CollectionName::new(collection)?, DocumentId::new(id)?);
            let uploader = self.uploader(place, ctx).await?;
            let theirs = uploader.is_none_or(|uploader| *uploader == *self.pseudonym);
            uploads.push(Upload { record, collection, id, theirs });
        }
        Ok(uploads)
    }

    async fn title(&self, id: &SessionId, ctx: &RunContext) -> Result<Option<String>> {
        let found = self.state.get(&self.titles(), &self.own(id.as_str()), ctx).await?;
        Ok(found.map(|record| record.value))
    }

    /// What `name` of this person is called among everybody's.
    fn own(&self, name: &str) -> String {
        format!("{}/{name}", self.pseudonym)
    }

    fn titles(&self) -> StateSpace {
        StateSpace::of_tenant("session-titles", &self.home)
    }

    fn feedback_space(&self) -> StateSpace {
        feedback_of(&self.home)
    }

    fn uploads_space(&self) -> StateSpace {
        StateSpace::of_tenant("uploads", &self.home)
    }

    fn uploaders_space(&self) -> StateSpace {
        StateSpace::of_tenant("uploaders", &self.home)
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Personal").field("pseudonym", &self.pseudonym).finish_non_exhaustive()
    }
}

/// Where a document is among the tenant's.
fn place(collection: &CollectionName, id: &DocumentId) -> String {
    format!("{}/{}", collection.as_str(), id.as_str())
}

/// The answers that people of a tenant got to idempotency keys, by pseudonym.
pub(crate) fn idempotent_of(scope: &TenantScope) -> StateSpace {
    StateSpace::of_tenant("idempotent-answers", scope)
}

/// Everybody's feedback of a tenant.
pub(crate) fn feedback_of(scope: &TenantScope) -> StateSpace {
    StateSpace::of_tenant("feedback", scope)
}
