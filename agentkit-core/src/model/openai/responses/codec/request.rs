//! A conversation as the JSON body of a response.

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::message::{Role, ToolCall, ToolResult};
use crate::model::ChatRequest;
use crate::model::openai::OpenAiOptions;
use crate::model::wire::{
    Body, Turn, arguments_text, check_request, marked_content, parallel_tool_calls, tool_choice, turns,
};
use crate::tool::ToolSpec;

/// The body of `POST /responses` for a streamed answer that the server does not keep.
///
/// A seed is not sent: the interface has none.
///
/// # Errors
/// Invalid input: no messages, or a part in a message of a role that cannot have it. Unsupported: tools for a
/// model without them, or stop sequences.
pub fn responses_body(options: &OpenAiOptions, request: &ChatRequest) -> Result<Value> {
    check_request(request, &options.model, options.capabilities)?;
    if !request.stop.is_empty() {
        let message =
            "the responses interface has no stop sequences; leave them out, or use chat completions";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let input: Vec<Value> = turns(&request.messages)?.iter().flat_map(items).collect();
    let mut body = Body::default();
    body.set("model", options.model.as_str());
    body.set("input", input);
    body.set("stream", true);
    body.set("store", false);
    body.set_list("tools", request.tools.iter().map(tool).collect());
    body.set_some("tool_choice", tool_choice(request, |name| json!({"type": "function", "name": name})));
    body.set_some("parallel_tool_calls", parallel_tool_calls(request));
    body.set_some("max_output_tokens", request.max_tokens);
    body.set_decimal("temperature", request.temperature);
    Ok(body.into_value())
}

/// What is said is an item, and so are each call and each result.
fn items(turn: &Turn<'_>) -> Vec<Value> {
    let said = match &turn.text {
        None if !turn.calls.is_empty() || turn.role == Role::Tool => None,
        text => Some(json!({"role": turn.role, "content": text.as_deref().unwrap_or_default()})),
    };
    let calls = turn.calls.iter().map(|call| tool_call(call));
    let results = turn.results.iter().map(|result| tool_result(result));
    said.into_iter().chain(calls).chain(results).collect()
}

/// Schemas are sent as they are; the strict ones that the interface would otherwise expect are a dialect.
fn tool(spec: &ToolSpec) -> Value {
    json!({
        "type": "function", "name": spec.name, "description": spec.description,
        "parameters": spec.parameters, "strict": false,
    })
}

fn tool_call(call: &ToolCall) -> Value {
    json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments_text(call)})
}

fn tool_result(result: &ToolResult) -> Value {
    json!({"type": "function_call_output", "call_id": result.call_id, "output": marked_content(result)})
}
