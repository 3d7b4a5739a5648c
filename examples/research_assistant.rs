//! A team that researches a question in a folder of documents: it plans, searches, reads, and writes a cited answer.
//!
//! The host is a model with two tools: an agent that answers single questions out of the documents, and a reader of
//! passages. A judge lets no draft pass whose quotations are not in the documents. Without arguments it reads `docs/`,
//! offline: a model that follows a rule stands in for a hosted one. With the address of an OpenAI-compatible server and a
//! model's name, that model plans and writes; a question may follow.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::path::Path;
use std::sync::Arc;

use agentkit_core::model::openai::{OpenAiModel, OpenAiOptions};
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, AgentReply, AgentTool, Capabilities, ChatEvent, ChatModel,
    ChatRequest, ChatStream, DocumentId, Error, FinishReason, FunctionTool, Message, ModelInfo, Observation,
    Part, Refine, Result, Role, RunContext, TenantScope, ToolAgent, ToolCall, Verdict,
};
use agentkit_rag::Index;
use agentkit_rag::answer::{ExtractiveModel, RagAgent};
use agentkit_rag::embed::BertEmbedder;
use agentkit_rag::load::{LoadOptions, load_path};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

const QUESTION: &str = "How does a write become durable, and when is the graph used?";
const INSTRUCTIONS: &str = "Split the question into simple ones. Search for each, read around what was found, and write \
    an answer that quotes the documents in “ and ”, each quotation followed by its document in brackets.";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let model: Arc<dyn ChatModel> = match arguments.as_slice() {
        [url, name, ..] => {
            let options = OpenAiOptions::new(url, name).capabilities(Capabilities::default().with_tools());
            Arc::new(OpenAiModel::new(options)?)
        }
        _ => Arc::new(ByRule::new()),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let (store, scope) = (std::env::temp_dir().join("agentkit-research"), TenantScope::local());
    let index = index(&folder, &store, &scope).await?;
    let question = arguments.get(2).map_or(QUESTION, String::as_str);
    println!("{question}\n");
    let mut run =
        team(model, index, &scope)?.run(AgentInput::new(scope.clone(), question), &RunContext::new()).await?;
    while let Some(event) = run.next().await {
        match event.kind {
            AgentEventKind::Delta { text } => println!("\n{text}"),
            AgentEventKind::Error { kind, message } => return Err(Error::new(kind, message)),
            _ => {}
        }
    }
    Ok(())
}

async fn index(folder: &Path, store: &Path, scope: &TenantScope) -> Result<Arc<Index>> {
    let documents = load_path(folder, &LoadOptions::default(), &mut |_| {})?;
    let index = Index::open(store, Arc::new(BertEmbedder::minilm().await?)).await?;
    let report = index.upsert(scope, documents, &RunContext::new()).await?;
    println!("{} documents, {} chunks of them new", report.documents, report.embedded);
    Ok(Arc::new(index))
}

/// The host with its searcher and its reader, and the judge behind it.
fn team(model: Arc<dyn ChatModel>, index: Arc<Index>, scope: &TenantScope) -> Result<Refine> {
    let searcher = Arc::new(RagAgent::new(index.clone(), Arc::new(ExtractiveModel::new())));
    let search =
        AgentTool::new("search", "Answers one simple question, with quotations.", searcher, scope.clone());
    let host = ToolAgent::builder(model)
        .instructions(INSTRUCTIONS)
        .tool(Arc::new(search))
        .tool(Arc::new(reader(index.clone(), scope.clone())))
        .observe(show_calls)
        .build()?;
    let scope = scope.clone();
    Ok(Refine::new(Arc::new(host), move |_question, draft, ctx| {
        judge(index.clone(), scope.clone(), draft, ctx)
    }))
}

/// Shows what the host does; of drafts that are judged, the stream tells nothing.
fn show_calls(observation: &Observation<'_>) {
    if let Observation::ModelAnswered { response } = observation {
        for call in &response.tool_calls {
            println!("- {} {}", call.name, call.arguments);
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct Place {
    /// The document, as the search named it.
    document_id: String,
    /// A quotation out of it, to the letter.
    quote: String,
}

/// Gives the paragraph that a quotation stands in.
fn reader(index: Arc<Index>, scope: TenantScope) -> FunctionTool {
    FunctionTool::new("read", "Reads around a quotation.", move |place: Place, ctx: RunContext| {
        let (index, scope) = (index.clone(), scope.clone());
        async move {
            let text = text(&index, &scope, &place.document_id, &ctx).await?;
            let paragraph = text.split("\n\n").find(|paragraph| paragraph.contains(&place.quote));
            let paragraph =
                paragraph.ok_or_else(|| Error::not_found("the quotation is not in the document"))?;
            Ok(json!({"document_id": place.document_id, "quote": place.quote, "paragraph": paragraph}))
        }
    })
}

async fn text(index: &Index, scope: &TenantScope, id: &str, ctx: &RunContext) -> Result<String> {
    let stored = index.get(scope, &DocumentId::new(id)?, ctx).await?;
    Ok(stored.ok_or_else(|| Error::not_found(format!("there is no document {id}")))?.source_text)
}

/// Accepts drafts that quote, and whose quotations stand in the documents they name.
async fn judge(index: Arc<Index>, scope: TenantScope, draft: AgentReply, ctx: RunContext) -> Result<Verdict> {
    let mut quotations = 0;
    for (quote, behind) in draft.answer.split('“').skip(1).filter_map(|piece| piece.split_once('”')) {
        let document = behind.trim_start().strip_prefix('[').and_then(|behind| behind.split(']').next());
        let Some(document) = document else { continue };
        match text(&index, &scope, document, &ctx).await {
            Ok(text) if text.contains(quote) => quotations += 1,
            _ => return Ok(Verdict::Revise(format!("“{quote}” is not in {document}"))),
        }
    }
    Ok(if quotations > 0 { Verdict::Accept } else { Verdict::Revise("quote the documents".into()) })
}

/// Does what a hosted model would be asked to, by a rule: it plans, reads what was found, and quotes it.
struct ByRule(ModelInfo);

impl ByRule {
    fn new() -> Self {
        let abilities = Capabilities::default().with_tools();
        Self(ModelInfo::new("examples", "by-rule", 8192).capabilities(abilities))
    }
}

#[async_trait]
impl ChatModel for ByRule {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn stream(&self, request: ChatRequest, _ctx: &RunContext) -> Result<ChatStream> {
        let results: Vec<Vec<Value>> =
            request.messages.iter().filter(|message| message.role == Role::Tool).map(results).collect();
        let asked = request.messages.iter().find(|message| message.role == Role::User);
        let question = asked.map(Message::joined_text).unwrap_or_default();
        let said = match results.as_slice() {
            [] => plan(&question),
            [found] => read(found),
            [.., read] => vec![ChatEvent::Delta { text: write(read) }],
        };
        let calls = said.iter().any(|event| matches!(event, ChatEvent::ToolCall(_)));
        let reason = if calls { FinishReason::ToolCalls } else { FinishReason::Stop };
        Ok(ChatStream::generate(move |out| async move {
            for event in said {
                out.emit(event).await?;
            }
            out.emit(ChatEvent::Finished { reason }).await
        }))
    }
}

/// The results of a tool message that are JSON.
fn results(message: &Message) -> Vec<Value> {
    let result = |part: &Part| match part {
        Part::ToolResult(result) => serde_json::from_str(&result.content).ok(),
        _ => None,
    };
    message.parts.iter().filter_map(result).collect()
}

fn call(name: &str, arguments: Value) -> ChatEvent {
    ChatEvent::ToolCall(ToolCall { id: String::new(), name: name.into(), arguments })
}

/// One search for each part of the question.
fn plan(question: &str) -> Vec<ChatEvent> {
    let parts = question.trim_end_matches('?').split(", and ").map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| call("search", json!({"message": format!("{part}?")}))).collect()
}

/// One reading for each first quotation; says so if nothing was found.
fn read(found: &[Value]) -> Vec<ChatEvent> {
    let first = |answer: &Value| {
        let citation = answer.get("citations")?.get(0)?;
        Some(call(
            "read",
            json!({"document_id": citation.get("document_id")?, "quote": citation.get("quote")?}),
        ))
    };
    let calls: Vec<ChatEvent> = found.iter().filter_map(first).collect();
    if calls.is_empty() { vec![ChatEvent::Delta { text: "The documents do not say.".into() }] } else { calls }
}

/// Quotes what was read, each quotation with its document.
fn write(read: &[Value]) -> String {
    let text = |passage: &Value, name: &str| {
        passage.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let quoted = read.iter().map(|passage| {
        let (quote, document) = (text(passage, "quote"), text(passage, "document_id"));
        format!("“{quote}” [{document}]")
    });
    quoted.collect::<Vec<_>>().join("\n")
}
