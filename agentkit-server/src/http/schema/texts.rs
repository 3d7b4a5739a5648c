//! The schemas of the texts and names that a request holds. JSON Schema counts characters, so limits in bytes are told in words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// The pattern of ids: no control characters.
pub(in crate::http) const ID: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";
/// The pattern of texts that say something.
const PLAIN: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";

/// A text that says something: more than white space, and no NUL.
#[derive(Deserialize, ToSchema)]
#[schema(as = PlainText, pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$")]
pub(in crate::http) struct PlainTextSchema(String);

/// A text without NUL.
#[derive(Deserialize, ToSchema)]
#[schema(as = NoteText, pattern = r"^[^\u0000]*$")]
pub(in crate::http) struct NoteTextSchema(String);

/// A text without control characters.
#[derive(Deserialize, ToSchema)]
#[schema(as = Id, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
pub(in crate::http) struct IdSchema(String);

/// 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit.
#[derive(Deserialize, ToSchema)]
#[schema(as = CollectionName, pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
pub(in crate::http) struct NameSchema(String);

/// The `trace_id` of an answer.
#[derive(Deserialize, ToSchema)]
#[schema(as = TraceId, pattern = r"^[0-9A-Fa-f]{32}$")]
pub(in crate::http) struct TraceIdSchema(String);

/// A number that only grows.
pub(in crate::http) struct CountSchema;

/// A value of a field.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Scalar)]
pub(in crate::http) enum ScalarSchema {
    /// A truth.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text of at most 4096 bytes.
    Text(String),
}

/// A value that has an order.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Bound)]
pub(in crate::http) enum BoundSchema {
    /// A number.
    Number(f64),
    /// A text of at most 4096 bytes.
    Text(String),
}

/// A scalar, or a list of at most 256.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = MetadataValue)]
pub(in crate::http) enum MetadataValueSchema {
    /// One value.
    One(ScalarSchema),
    /// Several values.
    Many(Vec<ScalarSchema>),
}

/// At most 64 fields, whose names have 1 to 128 bytes and no control characters.
#[derive(Deserialize, ToSchema)]
#[schema(as = Metadata)]
pub(in crate::http) struct MetadataSchema(BTreeMap<String, MetadataValueSchema>);

/// What kind of text a document is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SourceKind)]
pub(in crate::http) enum KindSchema {
    /// The file itself.
    Text,
    /// The file itself.
    Markdown,
    /// Extracted from a web page.
    Html,
    /// Extracted from a PDF.
    Pdf,
    /// Extracted from a document of Word.
    Docx,
    /// Extracted from a book.
    Epub,
    /// Extracted from a table.
    Table,
    /// Extracted from JSON.
    Json,
    /// The file itself.
    Code,
}

/// An event of a run as it stands in a stream.
#[derive(Deserialize, ToSchema)]
#[schema(as = AgentEventFrame)]
pub(in crate::http) struct AgentEventFrameSchema {
    /// The event's number.
    id: String,
    /// The event's type.
    event: String,
    /// The event, an `AgentEvent` in JSON.
    data: String,
}

/// An event of a job as it stands in a stream.
#[derive(Deserialize, ToSchema)]
#[schema(as = JobEventFrame)]
pub(in crate::http) struct JobEventFrameSchema {
    /// The event's number.
    id: String,
    /// The event's type.
    event: String,
    /// The event, a `JobEvent` in JSON.
    data: String,
}

/// A piece of an answer as it stands in a stream.
#[derive(Deserialize, ToSchema)]
#[schema(as = OpenAiChunkFrame)]
pub(in crate::http) struct ChunkFrameSchema {
    /// An `OpenAiChunk` in JSON; the last is `[DONE]`, and one before it may be an `OpenAiErrorDocument`.
    data: String,
}

impl PartialSchema for CountSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0_usize))
            .maximum(Some(usize::MAX))
            .into()
    }
}

impl ToSchema for CountSchema {
    fn name() -> Cow<'static, str> {
        "Count".into()
    }
}

/// A file's bytes. As a text they are to say something.
pub(in crate::http) struct FileSchema;

impl PartialSchema for FileSchema {
    fn schema() -> RefOr<Schema> {
        let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        any.pattern(Some(PLAIN)).into()
    }
}

impl ToSchema for FileSchema {
    fn name() -> Cow<'static, str> {
        "File".into()
    }
}
