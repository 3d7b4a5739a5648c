//! The schemas of what core defines, for the description of the interface.
//!
//! Core knows nothing of `OpenAPI`, so its forms are described here a second time, as documentation only. The tests
//! read core's JSON into these types strictly, so that the two cannot drift apart.

#![expect(dead_code, reason = "only the schemas of these types are used")]

mod plan;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

pub(super) use self::plan::PlanSchema;
use self::plan::{DerivationSchema, FusionSchema};
use self::texts::BoundSchema;
pub(super) use self::texts::{
    AgentEventFrameSchema, ChunkFrameSchema, CountSchema, FileSchema, ID, IdSchema, JobEventFrameSchema,
    KindSchema, MetadataSchema, NameSchema, NoteTextSchema, PlainTextSchema, ScalarSchema, TraceIdSchema,
};

/// The whole answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AgentReply)]
pub(super) struct AgentReplySchema {
    /// The answer, with `[n]` behind what source n supports.
    answer: String,
    /// The quotations it rests on.
    citations: Vec<CitationSchema>,
    /// The passages that were found.
    sources: Vec<SourceSchema>,
    /// The question as it was searched.
    query: String,
    /// How the run ended.
    outcome: OutcomeSchema,
    /// What the models used.
    usage: UsageSchema,
    /// The conversation this belongs to.
    session_id: Option<String>,
    /// The trace of the run.
    trace_id: String,
    /// The run to resume, if it waits for somebody outside.
    run_id: Option<String>,
    /// The tool calls it waits for.
    deferred: Option<Vec<DeferredCallSchema>>,
    /// The tool calls that have no result.
    tool_calls: Option<Vec<ToolCallSchema>>,
}

/// A tool call that waits for somebody outside.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeferredCall)]
pub(super) struct DeferredCallSchema {
    /// The call, with the arguments to run it with.
    call: ToolCallSchema,
    /// What it waits for.
    waits_for: DeferralSchema,
}

/// A tool call a model asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ToolCall)]
pub(super) struct ToolCallSchema {
    /// The call's id.
    id: String,
    /// The tool's name.
    name: String,
    /// Its arguments.
    #[schema(value_type = Object)]
    arguments: serde_json::Value,
}

/// What a deferred call waits for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Deferral)]
pub(super) enum DeferralSchema {
    /// Somebody to approve it; then it is run here.
    Approval,
    /// The result of running it elsewhere.
    Result,
}

/// One event of a stream; the first is `started`, the last `done` or `error`.
#[derive(Deserialize, ToSchema)]
#[schema(as = AgentEvent)]
pub(super) struct AgentEventSchema {
    /// Position in the run, from 0 without gaps.
    seq: u64,
    /// What happened.
    #[schema(inline)]
    #[serde(flatten)]
    kind: AgentEventKindSchema,
}

/// What happened in a run.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[serde(deny_unknown_fields)]
#[schema(as = AgentEventKind)]
pub(super) enum AgentEventKindSchema {
    /// The run began.
    Started {
        /// The trace the run belongs to.
        trace_id: String,
        /// The conversation it continues.
        session_id: Option<String>,
    },
    /// Passages were found.
    Retrieved {
        /// The question as it was searched.
        query: String,
        /// What was found, best first.
        sources: Vec<SourceSchema>,
    },
    /// More text of the answer.
    Delta {
        /// The text to append.
        text: String,
    },
    /// The text so far rests on this quotation.
    Citation {
        /// The `[n]` of the answer's text.
        number: usize,
        /// The document quoted.
        document_id: String,
        /// The chunk quoted.
        chunk_id: String,
        /// The document's title.
        title: Option<String>,
        /// The quoted text.
        quote: String,
        /// Where it stands in the source text.
        span: SpanSchema,
        /// Where it stands in the original.
        locator: LocatorSchema,
    },
    /// A tool is being run.
    ToolCalled {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// Its arguments.
        #[schema(value_type = Object)]
        arguments: serde_json::Value,
    },
    /// A tool has returned.
    ToolReturned {
        /// The call this answers.
        call_id: String,
        /// The result.
        content: String,
        /// Whether it is an error.
        is_error: bool,
    },
    /// The run waits for somebody outside, and ends with outcome `waiting`.
    Deferred {
        /// The run to resume.
        run_id: String,
        /// The tool calls it waits for.
        calls: Vec<DeferredCallSchema>,
    },
    /// What the models used.
    Usage {
        /// Tokens of the requests.
        input_tokens: u64,
        /// Tokens generated.
        output_tokens: u64,
    },
    /// The run is over.
    Done {
        /// How it ended.
        outcome: OutcomeSchema,
    },
    /// The run failed.
    Error {
        /// The category.
        kind: String,
        /// What went wrong.
        message: String,
    },
}

/// A quotation that supports the answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Citation)]
pub(super) struct CitationSchema {
    /// The `[n]` of the answer's text.
    number: usize,
    /// The document quoted.
    document_id: String,
    /// The chunk quoted.
    chunk_id: String,
    /// The document's title.
    title: Option<String>,
    /// The quoted text: the document's source text cut at `span`.
    quote: String,
    /// Byte range in the document's source text.
    span: SpanSchema,
    /// Where it stands in the original.
    locator: LocatorSchema,
}

/// A passage the answer may rest on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Source)]
pub(super) struct SourceSchema {
    /// Its number in the answer's text, counted from 1.
    number: usize,
    /// The chunk.
    chunk_id: String,
    /// Its document.
    document_id: String,
    /// The document's title.
    title: Option<String>,
    /// The passage.
    text: String,
    /// Byte range in the document's source text.
    span: SpanSchema,
    /// Where it stands in the original.
    locator: LocatorSchema,
    /// Comparable only within one answer.
    score: f32,
}

/// What was found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SearchResponse)]
pub(super) struct SearchResponseSchema {
    /// The hits, best first.
    hits: Vec<HitSchema>,
    /// Chunks that match the filter, found or not.
    matches: u64,
    /// The state of the index that was searched.
    generation: u64,
}

/// A found chunk and why it was found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Hit)]
pub(super) struct HitSchema {
    /// The chunk.
    chunk_id: String,
    /// Its document.
    document_id: String,
    /// The document's title.
    title: Option<String>,
    /// The passage.
    text: String,
    /// Byte range in the document's source text.
    span: SpanSchema,
    /// Where it stands in the original.
    locator: LocatorSchema,
    /// Comparable only within one response.
    score: f32,
    /// The document's metadata.
    #[schema(value_type = Option<Object>)]
    metadata: Option<BTreeMap<String, serde_json::Value>>,
    /// How the score came about.
    explanation: ExplanationSchema,
}

/// How a hit's score came about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Explanation)]
pub(super) struct ExplanationSchema {
    /// What each leg of the search thought of the chunk.
    legs: Vec<LegExplanationSchema>,
    /// How the legs were combined.
    fusion: Option<FusionSchema>,
    /// The reranker's score.
    reranked: Option<f32>,
    /// The whole computation of the score.
    derivation: Option<DerivationSchema>,
}

/// One leg's view of a hit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LegExplanation)]
pub(super) struct LegExplanationSchema {
    /// Which leg.
    leg: LegSchema,
    /// Rank in the leg, counted from 1.
    rank: usize,
    /// The leg's own score: cosine for dense, BM25 for lexical.
    score: f32,
    /// What the leg added to the final score.
    contribution: f32,
}

/// A way of finding chunks.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Leg)]
pub(super) enum LegSchema {
    /// By meaning.
    Dense,
    /// By words.
    Lexical,
}

/// A byte range of UTF-8 text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Span)]
pub(super) struct SpanSchema {
    /// First byte.
    start: usize,
    /// One past the last byte.
    end: usize,
}

/// Where a passage stands in the original file.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Locator)]
pub(super) struct LocatorSchema {
    /// Headings above it, outermost first.
    heading_path: Option<Vec<String>>,
    /// Byte range in the original, if that is text.
    bytes: Option<SpanSchema>,
    /// Page on which it begins, counted from 1.
    page: Option<u32>,
    /// Row or record in which it begins, counted from 1.
    row: Option<u64>,
    /// The pages and rows that begin within it.
    marks: Option<Vec<MarkSchema>>,
}

/// Where a page or a row of the original begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Mark)]
pub(super) struct MarkSchema {
    /// Byte offset in the document's text.
    offset: usize,
    /// The page, counted from 1.
    #[schema(value_type = Option<usize>, maximum = 4_294_967_295_usize)]
    page: Option<u32>,
    /// The row, counted from 1.
    #[schema(value_type = Option<CountSchema>)]
    row: Option<u64>,
}

/// How a run ended.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Outcome)]
pub(super) enum OutcomeSchema {
    /// With an answer.
    Answered,
    /// With the statement that the sources do not support an answer.
    Refused,
    /// With an answer cut off at the model's token limit.
    Truncated,
    /// Not at all: it waits for somebody outside, and can be resumed.
    Waiting,
}

/// Tokens used.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Usage)]
pub(super) struct UsageSchema {
    /// Tokens of the requests.
    input_tokens: u64,
    /// Tokens generated.
    output_tokens: u64,
}

/// A condition on a document's metadata.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "snake_case")]
#[schema(as = Filter)]
pub(super) enum FilterSchema {
    /// The field equals the value.
    Eq {
        /// The field's name.
        field: IdSchema,
        /// Text, number or boolean.
        value: ScalarSchema,
    },
    /// The field equals one of the values.
    In {
        /// The field's name.
        field: IdSchema,
        /// The values.
        values: Vec<ScalarSchema>,
    },
    /// The field lies between bounds of its own type.
    Range(RangeSchema),
    /// The field is a text that starts with this.
    Prefix {
        /// The field's name.
        field: IdSchema,
        /// The start of the text.
        value: String,
    },
    /// The field has a value.
    Exists {
        /// The field's name.
        field: IdSchema,
    },
    /// All conditions hold.
    #[schema(no_recursion)]
    And(Vec<FilterSchema>),
    /// Any condition holds.
    #[schema(no_recursion)]
    Or(Vec<FilterSchema>),
    /// The condition does not hold.
    #[schema(no_recursion)]
    Not(Box<FilterSchema>),
}

/// Bounds of a field, at least one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Range)]
pub(super) struct RangeSchema {
    /// The field's name.
    field: IdSchema,
    /// Greater than this.
    #[schema(nullable = false)]
    gt: Option<BoundSchema>,
    /// Greater than or equal to this.
    #[schema(nullable = false)]
    gte: Option<BoundSchema>,
    /// Less than this.
    #[schema(nullable = false)]
    lt: Option<BoundSchema>,
    /// Less than or equal to this.
    #[schema(nullable = false)]
    lte: Option<BoundSchema>,
}

/// A heading of a document's text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Heading)]
pub(super) struct HeadingSchema {
    /// Byte offset in the text where its section begins.
    offset: usize,
    /// 1 for the outermost.
    #[schema(maximum = 255)]
    level: u8,
    /// Its text without markup.
    title: String,
}
