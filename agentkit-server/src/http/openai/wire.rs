//! The wire forms of OpenAI's interface, as far as the service speaks it.

use agentkit_core::{Citation, Filter, Usage};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};
use utoipa::ToSchema;

use super::forms::{
    ChatTool, Encoding, Named, ResponseTool, Side, Speaker, TextOrParts, Texts, ToolChoiceForm,
};

/// A list of models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiModels)]
pub(in crate::http) struct Models {
    /// `list`.
    pub(super) object: &'static str,
    /// The models.
    pub(super) data: Vec<Model>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiModel)]
pub(in crate::http) struct Model {
    /// The name of a collection, or of the embedding model.
    pub(super) id: String,
    /// `model`.
    pub(super) object: &'static str,
    /// This moment, in seconds since 1970.
    pub(super) created: u64,
    /// `agentkit`.
    pub(super) owned_by: &'static str,
}

/// A problem in OpenAI's form.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiErrorDocument)]
pub(in crate::http) struct ErrorDocument {
    /// What went wrong.
    error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiError)]
pub(in crate::http) struct ErrorBody {
    /// What was wrong with this request, and what to do.
    message: String,
    /// The group of problems it belongs to.
    r#type: String,
    /// The member of the request that it is about.
    param: Option<String>,
    /// The kind of problem.
    code: String,
}

/// A chat to be continued. Members that are not listed are accepted and have no effect.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiChatRequest)]
pub(in crate::http) struct CompletionRequest {
    /// The collection to ask.
    #[schema(example = "default")]
    pub(super) model: String,
    /// What was said; the last of it is the user's question, or the results of the tools that were called for it.
    pub(super) messages: Vec<ChatMessage>,
    /// Answer with a stream of chunks.
    #[serde(default)]
    pub(super) stream: Option<bool>,
    /// How to stream.
    #[serde(default)]
    pub(super) stream_options: Option<StreamOptions>,
    /// Which documents may be used; a member of this service alone.
    #[serde(default)]
    #[schema(value_type = Option<crate::http::schema::FilterSchema>)]
    pub(super) filter: Option<Filter>,
    /// How many answers; only 1 can be had.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1)]
    pub(super) n: Option<u64>,
    /// At most 128 functions of the client, which the model may call if it can; the client runs them. `strict` has no effect.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ChatTool>>, max_items = 128)]
    pub(super) tools: Option<Vec<Value>>,
    /// The older form of `tools`, which is not taken.
    #[serde(default)]
    #[schema(max_items = 0)]
    pub(super) functions: Option<Vec<Value>>,
    /// Which tools are to be called.
    #[serde(default)]
    #[schema(value_type = Option<ToolChoiceForm>)]
    pub(super) tool_choice: Option<Value>,
    /// Whether several tools may be called at once.
    #[serde(default)]
    pub(super) parallel_tool_calls: Option<bool>,
    /// The form of the answer's text; only `{"type": "text"}` can be had.
    #[serde(default)]
    pub(super) response_format: Option<Value>,
    /// Probabilities of tokens, which cannot be had.
    #[serde(default)]
    pub(super) logprobs: Option<bool>,
    /// Kinds of output; only `text` can be had.
    #[serde(default)]
    pub(super) modalities: Option<Vec<String>>,
}

/// One message of a chat.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiChatMessage)]
pub(in crate::http) struct ChatMessage {
    /// Who says it.
    #[schema(value_type = Speaker)]
    pub(super) role: String,
    /// A text, or a list of parts of type `text`.
    #[serde(default)]
    #[schema(value_type = Option<TextOrParts>)]
    pub(super) content: Option<Value>,
    /// The tools that the assistant called.
    #[serde(default)]
    pub(super) tool_calls: Option<Vec<Call>>,
    /// The call whose result this is.
    #[serde(default)]
    pub(super) tool_call_id: Option<String>,
}

impl ChatMessage {
    pub(super) fn user(text: String) -> Self {
        Self { role: "user".into(), content: Some(text.into()), tool_calls: None, tool_call_id: None }
    }

    pub(super) fn calling(call: Call) -> Self {
        Self { role: "assistant".into(), content: None, tool_calls: Some(vec![call]), tool_call_id: None }
    }

    pub(super) fn result(call_id: String, output: Value) -> Self {
        Self { role: "tool".into(), content: Some(output), tool_calls: None, tool_call_id: Some(call_id) }
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = OpenAiToolCall)]
pub(in crate::http) struct Call {
    /// The call's id, by which its result names it.
    pub(super) id: String,
    /// `function`.
    #[serde(default)]
    r#type: CallKind,
    /// What is called.
    pub(super) function: CalledFunction,
}

impl Call {
    pub(super) fn new(id: String, function: CalledFunction) -> Self {
        Self { id, r#type: CallKind::Function, function }
    }
}

/// What kind of tool is called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OpenAiToolCallKind)]
pub(in crate::http) enum CallKind {
    /// A function of the client.
    #[default]
    Function,
}

/// A function and what it is called with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = OpenAiCalledFunction)]
pub(in crate::http) struct CalledFunction {
    /// The function's name.
    pub(super) name: String,
    /// The arguments as JSON, as the model wrote them: they may not fit the schema.
    pub(super) arguments: String,
}

/// How to stream.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiStreamOptions)]
pub(in crate::http) struct StreamOptions {
    /// Send a last chunk that tells the tokens used.
    #[serde(default)]
    pub(super) include_usage: Option<bool>,
}

/// The whole answer to a chat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChatCompletion)]
pub(in crate::http) struct Completion {
    /// `chatcmpl-` and the trace of the run, by which feedback names it.
    pub(super) id: String,
    /// `chat.completion`.
    pub(super) object: &'static str,
    /// When it was made, in seconds since 1970.
    pub(super) created: u64,
    /// The collection that was asked.
    pub(super) model: String,
    /// The one answer.
    pub(super) choices: Vec<Choice>,
    /// The tokens used.
    pub(super) usage: TokenUsage,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChoice)]
pub(in crate::http) struct Choice {
    /// 0.
    pub(super) index: u32,
    /// What the assistant says.
    pub(super) message: Reply,
    /// Always null.
    #[schema(value_type = Option<Object>)]
    pub(super) logprobs: (),
    /// `stop`, `length` at the model's token limit, or `tool_calls`.
    pub(super) finish_reason: &'static str,
}

/// What the assistant says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiReply)]
pub(in crate::http) struct Reply {
    /// `assistant`.
    pub(super) role: &'static str,
    /// The answer, with `[n]` behind what source n supports; null if there are only calls.
    pub(super) content: Option<String>,
    /// Always null: an honest "the sources do not say" is content.
    pub(super) refusal: Option<String>,
    /// The quotations it rests on; a member of this service alone.
    #[schema(value_type = Vec<crate::http::schema::CitationSchema>)]
    pub(super) citations: Vec<Citation>,
    /// The tools of the client that are called; their results belong into the next request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<Call>,
}

/// The tokens used.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = OpenAiUsage)]
#[expect(clippy::struct_field_names, reason = "these are the names of OpenAI's interface")]
pub(in crate::http) struct TokenUsage {
    /// Tokens of the requests.
    prompt_tokens: u64,
    /// Tokens generated.
    completion_tokens: u64,
    /// Both.
    total_tokens: u64,
}

impl From<Usage> for TokenUsage {
    fn from(usage: Usage) -> Self {
        let Usage { input_tokens, output_tokens } = usage;
        Self { prompt_tokens: input_tokens, completion_tokens: output_tokens, total_tokens: usage.total() }
    }
}

/// A piece of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiChunk)]
pub(in crate::http) struct Chunk {
    /// The same for all chunks of an answer.
    pub(super) id: String,
    /// `chat.completion.chunk`.
    pub(super) object: &'static str,
    /// When it was begun, in seconds since 1970.
    pub(super) created: u64,
    /// The collection that was asked.
    pub(super) model: String,
    /// What is new; empty in the chunk that tells the usage.
    pub(super) choices: Vec<Piece>,
    /// Null but in the last chunk, and absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TokenUsage>)]
    pub(super) usage: Option<Value>,
}

/// What is new of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiPiece)]
pub(in crate::http) struct Piece {
    /// 0.
    pub(super) index: u32,
    /// What to append.
    pub(super) delta: Delta,
    /// Always null.
    #[schema(value_type = Option<Object>)]
    pub(super) logprobs: (),
    /// How it ended, in its last piece.
    pub(super) finish_reason: Option<&'static str>,
}

/// What to append to an answer.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = OpenAiDelta)]
pub(in crate::http) struct Delta {
    /// `assistant`, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    /// Quotations that the text so far rests on; a member of this service alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<crate::http::schema::CitationSchema>)]
    pub(super) citations: Vec<Citation>,
    /// Tools of the client that are called, each whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<CallPiece>,
}

/// A call of a tool in a stream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiToolCallPiece)]
pub(in crate::http) struct CallPiece {
    /// Its place among the calls of the answer.
    pub(super) index: usize,
    /// The call.
    #[serde(flatten)]
    pub(super) call: Call,
}

/// A question in the newer form. Members that are not listed are accepted and have no effect.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiResponseRequest)]
pub(in crate::http) struct ResponseRequest {
    /// The collection to ask.
    #[schema(example = "default")]
    pub(super) model: String,
    /// The question, or a list of messages, calls of tools and their results whose last is the question or a result.
    #[schema(value_type = TextOrParts)]
    pub(super) input: Value,
    /// Further instructions to the model.
    #[serde(default)]
    pub(super) instructions: Option<String>,
    /// The conversation it continues, by its name or as an object with its `id`.
    #[serde(default)]
    #[schema(value_type = Option<Named>)]
    pub(super) conversation: Option<Value>,
    /// Answer with a stream of events.
    #[serde(default)]
    pub(super) stream: Option<bool>,
    /// Which documents may be used; a member of this service alone.
    #[serde(default)]
    #[schema(value_type = Option<crate::http::schema::FilterSchema>)]
    pub(super) filter: Option<Filter>,
    /// At most 128 functions of the client, which the model may call if it can; the client runs them. `strict` has no effect.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ResponseTool>>, max_items = 128)]
    pub(super) tools: Option<Vec<Value>>,
    /// Which tools are to be called.
    #[serde(default)]
    #[schema(value_type = Option<ToolChoiceForm>)]
    pub(super) tool_choice: Option<Value>,
    /// Whether several tools may be called at once.
    #[serde(default)]
    pub(super) parallel_tool_calls: Option<bool>,
    /// The form of the text; only `{"format": {"type": "text"}}` can be had.
    #[serde(default)]
    pub(super) text: Option<Value>,
    /// An earlier response that it continues; not together with `conversation`.
    #[serde(default)]
    pub(super) previous_response_id: Option<String>,
    /// Keep the response for 30 days, to be given again and continued; true if left out.
    #[serde(default)]
    pub(super) store: Option<bool>,
    /// At most 16 texts of the client's own, which are given back.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(super) metadata: Option<std::collections::BTreeMap<String, String>>,
    /// Whether to answer later, which cannot be done.
    #[serde(default)]
    pub(super) background: Option<bool>,
}

/// Texts to be made vectors of. Members that are not listed are accepted and have no effect.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenAiEmbeddingRequest)]
pub(in crate::http) struct EmbeddingRequest {
    /// The embedding model.
    pub(super) model: String,
    /// A text or a list of at most 2048 texts; tokens are not taken.
    #[schema(value_type = Texts)]
    pub(super) input: Value,
    /// `float` or `base64` of little-endian 32-bit floats; `float` if left out.
    #[serde(default)]
    #[schema(value_type = Option<Encoding>)]
    pub(super) encoding_format: Option<String>,
    /// Components of a vector; only the model's own number can be had.
    #[serde(default, deserialize_with = "whole")]
    pub(super) dimensions: Option<usize>,
    /// `query` for questions, `document` for what is to be found; a member of this service alone, `document` if left out.
    #[serde(default)]
    #[schema(value_type = Option<Side>)]
    pub(super) input_type: Option<String>,
}

/// A whole number, which some write with a fraction of nothing.
fn whole<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<usize>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(reader)? else { return Ok(None) };
    let text = number.to_string();
    let read = text.strip_suffix(".0").unwrap_or(&text).parse();
    read.map(Some).map_err(|_| D::Error::custom(format!("{number} is no whole number")))
}

/// Vectors.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddings)]
pub(in crate::http) struct Embeddings {
    /// `list`.
    pub(super) object: &'static str,
    /// One for each text, in order.
    pub(super) data: Vec<Vector>,
    /// The embedding model.
    pub(super) model: String,
    /// The tokens used.
    pub(super) usage: EmbeddingUsage,
}

/// A vector.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbedding)]
pub(in crate::http) struct Vector {
    /// `embedding`.
    pub(super) object: &'static str,
    /// Which text it is of.
    pub(super) index: usize,
    /// The components, in the form asked for.
    pub(super) embedding: Components,
}

/// Components of a vector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = OpenAiComponents)]
pub(in crate::http) enum Components {
    /// As numbers.
    Float(Vec<f32>),
    /// As base64 of little-endian 32-bit floats.
    Base64(String),
}

/// The tokens used by embedding.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiEmbeddingUsage)]
pub(in crate::http) struct EmbeddingUsage {
    /// Tokens of the texts.
    pub(super) prompt_tokens: u64,
    /// The same.
    pub(super) total_tokens: u64,
}
