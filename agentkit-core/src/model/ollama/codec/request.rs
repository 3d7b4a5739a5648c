//! A conversation as the JSON body of a chat.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::message::{Role, ToolCall, ToolResult};
use crate::model::ChatRequest;
use crate::model::ollama::options::OllamaOptions;
use crate::model::wire::{
    Body, Turn, arguments_object, check_request, marked_content, parallel_tool_calls, turns,
};
use crate::tool::{ToolChoice, ToolSpec};

/// The body of `POST /api/chat` for a streamed answer.
///
/// # Errors
/// Invalid input: no messages, or a part in a message of a role that cannot have it. Unsupported: tools for a
/// model without them.
pub fn chat_body(options: &OllamaOptions, request: &ChatRequest) -> Result<Value> {
    check_request(request, &options.model, options.capabilities)?;
    let turns = turns(&request.messages)?;
    let calls = turns.iter().flat_map(|turn| &turn.calls);
    let tools: HashMap<&str, &str> = calls.map(|call| (call.id.as_str(), call.name.as_str())).collect();
    let messages: Vec<Value> = turns.iter().flat_map(|turn| messages(turn, &tools)).collect();
    let mut body = Body::default();
    body.set("model", options.model.as_str());
    body.set("messages", messages);
    body.set("stream", true);
    body.set_list("tools", tools_of(request)?);
    body.set("options", sampling(options, request));
    body.set_some("keep_alive", options.keep_alive.map(|time| format!("{}ms", time.as_millis())));
    Ok(body.into_value())
}

/// Without `num_ctx` the server would cut what does not fit into its default, and not say so.
fn sampling(options: &OllamaOptions, request: &ChatRequest) -> Value {
    let mut fields = Body::default();
    fields.set("num_ctx", options.context_tokens);
    fields.set_some("num_predict", request.max_tokens);
    fields.set_decimal("temperature", request.temperature);
    fields.set_list("stop", request.stop.iter().map(|stop| json!(stop)).collect());
    fields.set_some("seed", request.seed);
    fields.into_value()
}

/// A message, or one for each tool result.
fn messages(turn: &Turn<'_>, tools: &HashMap<&str, &str>) -> Vec<Value> {
    if turn.role == Role::Tool {
        return turn.results.iter().map(|result| tool_result(result, tools)).collect();
    }
    let mut message = Body::default();
    message.set("role", json!(turn.role));
    message.set("content", turn.text.as_deref().unwrap_or_default());
    message.set_list("tool_calls", turn.calls.iter().map(|call| tool_call(call)).collect());
    vec![message.into_value()]
}

/// The tools that may be called. The interface cannot be told to call one, or only one.
fn tools_of(request: &ChatRequest) -> Result<Vec<Value>> {
    let forced = !matches!(request.tool_choice, ToolChoice::Auto | ToolChoice::None);
    if forced || parallel_tool_calls(request) == Some(false) {
        let message = "Ollama cannot be told which tools to call, or how many; leave tool_choice and \
            parallel_tool_calls out";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if request.tool_choice == ToolChoice::None {
        return Ok(Vec::new());
    }
    Ok(request.tools.iter().map(tool).collect())
}

fn tool(spec: &ToolSpec) -> Value {
    json!({"type": "function", "function": {
        "name": spec.name, "description": spec.description, "parameters": spec.parameters,
    }})
}

fn tool_call(call: &ToolCall) -> Value {
    json!({"id": call.id, "function": {"name": call.name, "arguments": arguments_object(call)}})
}

/// Older servers know a result by the name of its tool, newer ones by the id of its call.
fn tool_result(result: &ToolResult, tools: &HashMap<&str, &str>) -> Value {
    let mut message = Body::default();
    message.set("role", "tool");
    message.set("content", marked_content(result));
    message.set("tool_call_id", result.call_id.as_str());
    message.set_some("tool_name", tools.get(result.call_id.as_str()).copied());
    message.into_value()
}
