//! The wire forms of requests; unknown members are errors.

use agentkit_core::Mark;
use agentkit_core::{CollectionName, Filter, Message, Metadata, SearchPlan, SessionId};
use agentkit_rag::{Heading, SourceDocument, SourceKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::audit::AuditRecord;
use crate::documents::DocumentEntry;
use crate::identity::Role;
use crate::personal::{Feedback, Rating, SessionEntry};

/// A message to the agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChatRequest {
    /// The question, as plain text of at most 64 KiB.
    #[schema(value_type = super::schema::PlainTextSchema, example = "How do I install it?")]
    pub(super) message: String,
    /// The conversation it continues: any text of 1 to 256 bytes. Left out, the message stands alone.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::IdSchema>)]
    pub(super) session_id: Option<SessionId>,
    /// Which documents may be used.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::FilterSchema>)]
    pub(super) filter: Option<Filter>,
    /// Answer with a stream of server-sent events. Left out, the Accept header decides.
    #[serde(default)]
    pub(super) stream: Option<bool>,
    /// Let the run go on without its client, who may come back to it; only together with a stream.
    #[serde(default)]
    pub(super) resumable: Option<bool>,
    /// Which collection of documents to ask; `default` if left out.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::NameSchema>)]
    pub(super) collection: Option<CollectionName>,
}

/// Where to go on with a run.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowRun {
    /// The number of the event that the client had last; the header `Last-Event-ID` counts more.
    #[param(value_type = Option<super::schema::CountSchema>)]
    pub(super) starting_after: Option<u64>,
}

/// A search for passages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchRequest {
    /// The question, as plain text of at most 64 KiB.
    #[schema(value_type = super::schema::PlainTextSchema, example = "reset the device")]
    pub(super) query: String,
    /// Most hits to return, 1 to 1000; 10 if left out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000)]
    pub(super) top_k: Option<usize>,
    /// Which documents may be found.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::FilterSchema>)]
    pub(super) filter: Option<Filter>,
    /// How many of the best to leave out, for the pages after the first; 0 if left out. All pages need the same `top_k`.
    #[serde(default)]
    #[schema(maximum = 10000)]
    pub(super) offset: Option<usize>,
    /// The `generation` of the page before: fails with a conflict if the index has changed since.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::CountSchema>)]
    pub(super) generation: Option<u64>,
    /// How to search; both legs fused by relative scores if left out.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::PlanSchema>)]
    pub(super) plan: Option<SearchPlan>,
    /// Which collection to search; `default` if left out.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::NameSchema>)]
    pub(super) collection: Option<CollectionName>,
}

/// A document to be stored.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutDocument {
    /// The text, at most 16 MiB; citations refer to it.
    #[schema(value_type = super::schema::PlainTextSchema)]
    pub(crate) text: String,
    /// Shown with citations, embedded and searched with every chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::schema::NoteTextSchema>)]
    pub(crate) title: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::schema::NoteTextSchema>)]
    pub(crate) uri: Option<String>,
    /// What kind of text it is: `text`, `markdown` or `code` for the file itself; `html`, `pdf`, `docx`, `epub`, `table` or
    /// `json` for text extracted from one.
    #[serde(default)]
    #[schema(value_type = super::schema::KindSchema)]
    pub(crate) kind: SourceKind,
    /// The headings by offset; left out, those of Markdown are found in the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<super::schema::HeadingSchema>>)]
    pub(crate) headings: Option<Vec<Heading>>,
    /// Where pages and rows of the original begin, by offset in the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<super::schema::MarkSchema>)]
    pub(crate) marks: Vec<Mark>,
    /// Bytes of the file before the text, such as a byte order mark.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(value_type = usize)]
    pub(crate) original_start: usize,
    /// Fields to filter by: scalars or lists of scalars.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    #[schema(value_type = super::schema::MetadataSchema)]
    pub(crate) metadata: Metadata,
}

/// Which collection a document is in.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InCollection {
    /// `default` if left out.
    #[param(value_type = Option<super::schema::NameSchema>)]
    pub(super) collection: Option<CollectionName>,
}

/// Which documents to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListDocuments {
    /// Start behind this id: the `next` of the page before.
    #[param(value_type = Option<super::schema::IdSchema>)]
    pub(super) after: Option<agentkit_core::DocumentId>,
    /// Most documents to list, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// `default` if left out.
    #[param(value_type = Option<super::schema::NameSchema>)]
    pub(super) collection: Option<CollectionName>,
}

/// A page of the list of documents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct DocumentPage {
    /// The documents, by id.
    pub(super) documents: Vec<DocumentEntry>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::schema::IdSchema>)]
    pub(super) next: Option<agentkit_core::DocumentId>,
}

/// Which documents to delete.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteMatching {
    /// What the documents have in common.
    #[schema(value_type = super::schema::FilterSchema)]
    pub(super) filter: Filter,
    /// Only say how many there are.
    #[serde(default)]
    pub(super) dry_run: Option<bool>,
    /// Which collection to delete from; `default` if left out.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::NameSchema>)]
    pub(super) collection: Option<CollectionName>,
}

/// Which documents were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedMatching {
    /// Documents that match the filter.
    pub(super) matched: u64,
    /// Documents that were deleted.
    pub(super) deleted: u64,
    /// Whether they were only counted.
    pub(super) dry_run: bool,
}

/// Which audit records to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAudit {
    /// Start behind this number: the `next` of the page before.
    #[param(value_type = Option<super::schema::CountSchema>)]
    pub(super) after: Option<u64>,
    /// The newest records instead of the next behind `after`.
    pub(super) newest: Option<bool>,
    /// Most records to list, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
}

/// A page of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The records, oldest first.
    pub(super) records: Vec<AuditRecord>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
}

/// Which conversations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSessions {
    /// Start behind this id: the `next` of the page before.
    #[param(value_type = Option<super::schema::IdSchema>)]
    pub(super) after: Option<SessionId>,
    /// Most conversations to list, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
}

/// A page of the list of conversations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionPage {
    /// The conversations, by id.
    pub(super) sessions: Vec<SessionEntry>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::schema::IdSchema>)]
    pub(super) next: Option<SessionId>,
}

/// How much of a conversation to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadSession {
    /// Most messages, the newest, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Conversation {
    /// Which conversation.
    #[schema(value_type = String)]
    pub(super) id: SessionId,
    /// What its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    /// The messages, oldest first: each has a `role` and `parts`.
    #[schema(value_type = Vec<Object>)]
    pub(super) messages: Vec<Message>,
}

/// A new title.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenameSession {
    /// The title, 1 to 512 bytes.
    #[schema(value_type = super::schema::PlainTextSchema)]
    pub(super) title: String,
}

/// Feedback on an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GiveFeedback {
    /// The answer's `trace_id`.
    #[schema(value_type = super::schema::TraceIdSchema, example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    pub(super) turn: String,
    /// The conversation it belongs to.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::IdSchema>)]
    pub(super) session_id: Option<SessionId>,
    /// What was thought of it.
    pub(super) rating: Rating,
    /// Why, in a word; at most 256 bytes.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::NoteTextSchema>)]
    pub(super) reason: Option<String>,
    /// What else there is to say; at most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Option<super::schema::NoteTextSchema>)]
    pub(super) comment: Option<String>,
}

/// Which feedback to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListFeedback {
    /// The `next` of the page before.
    pub(super) after: Option<String>,
    /// Most feedback to list, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
}

/// Feedback and whose it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReviewedFeedback {
    /// Who gave it: the pseudonym of the audit trail.
    pub(super) actor: String,
    /// What they said.
    #[serde(flatten)]
    pub(super) feedback: Feedback,
}

/// A page of feedback.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedbackPage {
    /// The feedback, by person and answer.
    pub(super) feedback: Vec<ReviewedFeedback>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AboutMe {
    /// Whose documents and conversations they work with.
    pub(super) tenant: String,
    /// Who they are within the tenant.
    pub(super) user: String,
    /// What they may do.
    pub(super) role: Role,
    /// The collections they may use; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) collections: Option<Vec<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl From<SourceDocument> for PutDocument {
    fn from(document: SourceDocument) -> Self {
        Self {
            text: document.source_text,
            title: document.title,
            uri: document.uri,
            kind: document.kind,
            headings: Some(document.headings),
            marks: document.marks,
            original_start: document.original_start,
            metadata: document.metadata,
        }
    }
}
