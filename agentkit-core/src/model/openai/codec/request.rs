//! A conversation as the JSON body of a chat completion.

use serde_json::{Value, json};

use crate::error::Result;
use crate::message::{Role, ToolCall, ToolResult};
use crate::model::openai::options::{OpenAiOptions, TokenLimit};
use crate::model::wire::{
    Body, Turn, arguments_text, check_request, marked_content, parallel_tool_calls, tool_choice, turns,
};
use crate::model::{ChatRequest, OutputSchema};
use crate::tool::ToolSpec;

/// The body of `POST /chat/completions` for a streamed answer.
///
/// # Errors
/// Invalid input: no messages, or a part in a message of a role that cannot have it. Unsupported: tools for a
/// model without them.
pub fn chat_body(options: &OpenAiOptions, request: &ChatRequest) -> Result<Value> {
    check_request(request, &options.model, options.capabilities)?;
    let messages: Vec<Value> = turns(&request.messages)?.iter().flat_map(messages).collect();
    let limit = match options.token_limit {
        TokenLimit::MaxTokens => "max_tokens",
        TokenLimit::MaxCompletionTokens => "max_completion_tokens",
    };
    let mut body = Body::default();
    body.set("model", options.model.as_str());
    body.set("messages", messages);
    body.set("stream", true);
    body.set("stream_options", json!({"include_usage": true}));
    body.set_list("tools", request.tools.iter().map(tool).collect());
    body.set_some(
        "tool_choice",
        tool_choice(request, |name| json!({"type": "function", "function": {"name": name}})),
    );
    body.set_some("parallel_tool_calls", parallel_tool_calls(request));
    body.set_some(limit, request.max_tokens);
    body.set_decimal("temperature", request.temperature);
    body.set_list("stop", request.stop.iter().map(|stop| json!(stop)).collect());
    body.set_some("seed", request.seed);
    let output = request.output_schema.as_ref().filter(|_| options.capabilities.structured_output);
    body.set_some("response_format", output.map(response_format));
    Ok(body.into_value())
}

/// A message, or one for each tool result.
fn messages(turn: &Turn<'_>) -> Vec<Value> {
    if turn.role == Role::Tool {
        return turn.results.iter().map(|result| tool_result(result)).collect();
    }
    let mut message = Body::default();
    message.set("role", json!(turn.role));
    match &turn.text {
        None if !turn.calls.is_empty() => message.set("content", Value::Null),
        text => message.set("content", text.as_deref().unwrap_or_default()),
    }
    message.set_list("tool_calls", turn.calls.iter().map(|call| tool_call(call)).collect());
    vec![message.into_value()]
}

/// Not `strict`, which only takes schemas without optional members; the answer is checked in any case.
fn response_format(output: &OutputSchema) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": output.name, "schema": output.schema}})
}

fn tool(spec: &ToolSpec) -> Value {
    json!({"type": "function", "function": {
        "name": spec.name, "description": spec.description, "parameters": spec.parameters,
    }})
}

fn tool_call(call: &ToolCall) -> Value {
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments_text(call)}})
}

fn tool_result(result: &ToolResult) -> Value {
    json!({"role": "tool", "tool_call_id": result.call_id, "content": marked_content(result)})
}
