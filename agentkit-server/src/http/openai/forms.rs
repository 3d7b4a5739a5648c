//! The schemas of what a request of OpenAI's interface may write in several ways.

#![expect(dead_code, reason = "only the schemas of these types are used")]

use utoipa::ToSchema;

use crate::http::schema::IdSchema;

/// Who says something.
#[derive(ToSchema)]
#[schema(as = OpenAiSpeaker, rename_all = "lowercase")]
pub(super) enum Speaker {
    /// The application.
    System,
    /// The application.
    Developer,
    /// The one who asks.
    User,
    /// The one who answers.
    Assistant,
}

/// A text, or a list of parts or messages.
#[derive(ToSchema)]
#[schema(as = OpenAiTextOrParts)]
#[serde(untagged)]
pub(super) enum TextOrParts {
    /// The text.
    Text(String),
    /// The parts or messages.
    Parts(Vec<serde_json::Map<String, serde_json::Value>>),
}

/// A name, or an object with it.
#[derive(ToSchema)]
#[schema(as = OpenAiNamed)]
#[serde(untagged)]
pub(super) enum Named {
    /// The name.
    Name(IdSchema),
    /// An object with the name.
    Object {
        /// The name.
        id: IdSchema,
    },
}

/// A text or several.
#[derive(ToSchema)]
#[schema(as = OpenAiTexts)]
#[serde(untagged)]
pub(super) enum Texts {
    /// One text.
    One(SomeText),
    /// Several texts.
    Many(SomeTexts),
}

/// A text that is not empty.
#[derive(ToSchema)]
#[schema(as = OpenAiSomeText, min_length = 1)]
pub(super) struct SomeText(String);

/// Texts that are not empty.
#[derive(ToSchema)]
#[schema(as = OpenAiSomeTexts, min_items = 1, max_items = 2048)]
pub(super) struct SomeTexts(Vec<SomeText>);

/// How vectors are written.
#[derive(ToSchema)]
#[schema(as = OpenAiEncoding, rename_all = "lowercase")]
pub(super) enum Encoding {
    /// As numbers.
    Float,
    /// As base64 of little-endian 32-bit floats.
    Base64,
}

/// What a text is.
#[derive(ToSchema)]
#[schema(as = OpenAiSide, rename_all = "lowercase")]
pub(super) enum Side {
    /// A question.
    Query,
    /// What is to be found.
    Document,
}
