//! A conversation as the JSON body of a message.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::message::{Role, ToolCall, ToolResult};
use crate::model::ChatRequest;
use crate::model::anthropic::options::AnthropicOptions;
use crate::model::wire::{Body, Turn, arguments_object, check_request, parallel_tool_calls, turns};
use crate::tool::{ToolChoice, ToolSpec};

/// The body of `POST /messages` for a streamed answer.
///
/// Instructions of the application become the `system` field, wherever they stand; messages of the same speaker are
/// joined, since turns must alternate; tool results are the user's. Blank texts are left out, since the interface
/// refuses them. A seed is not sent: the interface has none.
///
/// # Errors
/// Invalid input: no messages, none but instructions, or a part in a message of a role that cannot have it.
/// Unsupported: tools for a model without them.
pub fn messages_body(options: &AnthropicOptions, request: &ChatRequest) -> Result<Value> {
    check_request(request, &options.model, options.capabilities)?;
    let turns = turns(&request.messages)?;
    let (system, spoken): (Vec<_>, Vec<_>) = turns.iter().partition(|turn| turn.role == Role::System);
    let messages = alternating(&spoken);
    if messages.is_empty() {
        return Err(Error::invalid_input(
            "the request has nothing but instructions; add a message of the user",
        ));
    }
    let system: Vec<_> = system.iter().filter_map(|turn| turn.text.as_deref()).collect();
    let mut body = Body::default();
    body.set("model", options.model.as_str());
    body.set("max_tokens", request.max_tokens.unwrap_or(options.max_tokens));
    body.set_some("system", (!system.is_empty()).then(|| system.join("\n\n")));
    body.set("messages", messages);
    body.set("stream", true);
    body.set_list("tools", request.tools.iter().map(tool).collect());
    body.set_some("tool_choice", tool_choice(request));
    body.set_decimal("temperature", request.temperature);
    body.set_list("stop_sequences", request.stop.iter().map(|stop| json!(stop)).collect());
    Ok(body.into_value())
}

/// One message for each run of turns of the same speaker.
fn alternating(turns: &[&Turn<'_>]) -> Vec<Value> {
    let runs = turns.chunk_by(|a, b| speaker(a.role) == speaker(b.role));
    let messages = runs.filter_map(|run| {
        let content: Vec<Value> = run.iter().flat_map(|turn| blocks(turn)).collect();
        let role = speaker(run.first()?.role);
        (!content.is_empty()).then(|| json!({"role": role, "content": content}))
    });
    messages.collect()
}

fn speaker(role: Role) -> &'static str {
    if role == Role::Assistant { "assistant" } else { "user" }
}

fn blocks(turn: &Turn<'_>) -> Vec<Value> {
    let text = turn.text.as_deref().filter(|text| !text.trim().is_empty());
    let text = text.map(|text| json!({"type": "text", "text": text}));
    let calls = turn.calls.iter().map(|call| tool_use(call));
    let results = turn.results.iter().map(|result| tool_result(result));
    text.into_iter().chain(calls).chain(results).collect()
}

fn tool(spec: &ToolSpec) -> Value {
    json!({"name": spec.name, "description": spec.description, "input_schema": spec.parameters})
}

/// `None` if nothing is asked for that the model would not do by itself.
fn tool_choice(request: &ChatRequest) -> Option<Value> {
    let single = parallel_tool_calls(request) == Some(false);
    let mut choice = Body::default();
    match &request.tool_choice {
        _ if request.tools.is_empty() => return None,
        ToolChoice::Auto if !single => return None,
        ToolChoice::Auto => choice.set("type", "auto"),
        ToolChoice::None => choice.set("type", "none"),
        ToolChoice::Required => choice.set("type", "any"),
        ToolChoice::Tool(name) => {
            choice.set("type", "tool");
            choice.set("name", name.as_str());
        }
    }
    if single && request.tool_choice != ToolChoice::None {
        choice.set("disable_parallel_tool_use", true);
    }
    Some(choice.into_value())
}

fn tool_use(call: &ToolCall) -> Value {
    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_object(call)})
}

fn tool_result(result: &ToolResult) -> Value {
    let mut block = json!({"type": "tool_result", "tool_use_id": result.call_id, "content": result.content});
    if let Some(fields) = block.as_object_mut().filter(|_| result.is_error) {
        fields.insert("is_error".into(), Value::Bool(true));
    }
    block
}
