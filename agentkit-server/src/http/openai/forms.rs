//! The schemas of what a request of OpenAI's interface may write in several ways.

#![expect(dead_code, reason = "only the schemas of these types are used")]

use serde_json::Value;
use utoipa::ToSchema;

use super::wire::CallKind;
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
    /// A tool of the client.
    Tool,
}

/// A tool of the client in the form of chats.
#[derive(ToSchema)]
#[schema(as = OpenAiChatTool)]
pub(super) struct ChatTool {
    /// `function`.
    r#type: CallKind,
    /// The function.
    function: Function,
}

/// A tool of the client in the form of responses.
#[derive(ToSchema)]
#[schema(as = OpenAiResponseTool)]
pub(super) struct ResponseTool {
    /// `function`.
    r#type: CallKind,
    /// The function.
    #[serde(flatten)]
    function: Function,
}

/// A function that a model may call.
#[derive(ToSchema)]
#[schema(as = OpenAiFunction)]
pub(super) struct Function {
    /// 1 to 64 letters, digits, `_` and `-`.
    #[schema(pattern = "^[a-zA-Z0-9_-]{1,64}$")]
    name: String,
    /// What it does and when to use it.
    description: Option<String>,
    /// JSON Schema of its arguments, an object.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
}

/// Which tools are to be called: `auto`, `none`, `required`, one function, or `allowed_tools` with a mode and functions.
#[derive(ToSchema)]
#[schema(as = OpenAiToolChoice)]
#[serde(untagged)]
pub(super) enum ToolChoiceForm {
    /// How many.
    Mode(ChoiceMode),
    /// Which ones.
    Named(serde_json::Map<String, Value>),
}

/// How many tools are to be called.
#[derive(ToSchema)]
#[schema(as = OpenAiToolChoiceMode, rename_all = "lowercase")]
pub(super) enum ChoiceMode {
    /// As the model likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
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
