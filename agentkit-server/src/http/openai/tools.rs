//! Tools of the client: what a request offers to the model, and the calls that go back and forth.

use agentkit_core::{Error, ErrorKind, ToolCall, ToolChoice, ToolOffer, ToolSpec};
use serde_json::{Value, json};

use super::error::{unsupported, wrong};
use super::wire::{Call, CalledFunction, ResponseRequest};
use crate::http::problem::Problem;

/// Tools of the client, as they are offered to the model and as the client wrote them.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) offer: ToolOffer,
    choice: Option<Value>,
}

impl Tools {
    pub(super) fn read(request: &ResponseRequest) -> Result<Self, Problem> {
        let (choice, parallel) = (request.tool_choice.as_ref(), request.parallel_tool_calls);
        let offer = offer(request.tools.as_deref(), choice, parallel)?;
        Ok(Self { offer, choice: request.tool_choice.clone() })
    }

    pub(super) fn listed(&self) -> Vec<Value> {
        let listed = self.offer.tools.iter().map(|tool| {
            json!({
                "type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.parameters, "strict": false,
            })
        });
        listed.collect()
    }

    pub(super) fn choice(&self) -> Value {
        let otherwise = if self.offer.tools.is_empty() { "none" } else { "auto" };
        self.choice.clone().unwrap_or_else(|| otherwise.into())
    }

    pub(super) fn parallel(&self) -> bool {
        !self.offer.tools.is_empty() && self.offer.parallel.unwrap_or(true)
    }
}

/// What a request offers by its members `tools`, `tool_choice` and `parallel_tool_calls`.
pub(super) fn offer(
    tools: Option<&[Value]>,
    choice: Option<&Value>,
    parallel: Option<bool>,
) -> Result<ToolOffer, Problem> {
    let none = choice.is_some_and(|choice| choice == "none");
    let tools = tools.unwrap_or_default().iter().enumerate();
    // What is not to be called may be of any type.
    let tools = tools.filter(|(_, tool)| !none || kind(tool) == Some("function"));
    let tools: Result<Vec<_>, _> = tools.map(|(at, tool)| spec(&format!("tools[{at}]"), tool)).collect();
    let mut offer = ToolOffer::new(tools?);
    if let Some(choice) = choice.filter(|choice| !choice.is_null()) {
        offer = chosen(offer, choice)?;
    }
    offer.parallel = parallel;
    offer.validate().map_err(|error| wrong("tools", error.message()))?;
    Ok(offer)
}

/// A tool in either form: that of chats has its function as a member, that of responses is one.
fn spec(name: &str, tool: &Value) -> Result<ToolSpec, Problem> {
    if let Some(other) = kind(tool).filter(|kind| *kind != "function") {
        let detail =
            format!("{name} is of type {other:?}; this service hands on functions of its clients only");
        return Err(unsupported("tools", detail));
    }
    let function = tool.get("function").unwrap_or(tool);
    let named = text(function, "name").ok_or_else(|| wrong("tools", format!("{name} has no name")))?;
    let parameters = match function.get("parameters") {
        None | Some(Value::Null) => json!({"type": "object", "properties": {}}),
        Some(Value::Object(schema)) => {
            let mut schema = schema.clone();
            schema.entry("type").or_insert_with(|| "object".into());
            Value::Object(schema)
        }
        Some(_) => {
            return Err(wrong("tools", format!("the parameters of {name} are no schema of an object")));
        }
    };
    let described = text(function, "description").filter(|text| !text.trim().is_empty());
    Ok(ToolSpec { name: named.to_owned(), description: described.unwrap_or(named).to_owned(), parameters })
}

/// The offer with a choice in any of its forms.
fn chosen(offer: ToolOffer, choice: &Value) -> Result<ToolOffer, Problem> {
    if let Some(mode) = choice.as_str() {
        return Ok(offer.choice(by_mode(mode)?));
    }
    match kind(choice) {
        Some("function") => Ok(offer.choice(ToolChoice::Tool(named(choice)?))),
        Some("allowed_tools") => allowed(offer, choice.get("allowed_tools").unwrap_or(choice)),
        _ => Err(unsupported(
            "tool_choice",
            "tool_choice must be auto, none, required, a function or allowed_tools",
        )),
    }
}

/// Only the tools that are allowed.
fn allowed(mut offer: ToolOffer, choice: &Value) -> Result<ToolOffer, Problem> {
    let listed = choice.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names: Result<Vec<_>, _> = listed.iter().map(named).collect();
    let names = names?;
    let offered = |name: &String| offer.tools.iter().any(|tool| tool.name == *name);
    if let Some(unknown) = names.iter().find(|name| !offered(name)) {
        return Err(wrong("tool_choice", format!("the tool {unknown:?} is allowed, but is not offered")));
    }
    offer.tools.retain(|tool| names.contains(&tool.name));
    let mode = by_mode(text(choice, "mode").unwrap_or("auto"))?;
    Ok(offer.choice(mode))
}

fn by_mode(mode: &str) -> Result<ToolChoice, Problem> {
    match mode {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        other => Err(wrong("tool_choice", format!("tool_choice is {other:?}, not auto, none or required"))),
    }
}

/// The name of a function in either form.
fn named(choice: &Value) -> Result<String, Problem> {
    let name = text(choice.get("function").unwrap_or(choice), "name");
    name.map(str::to_owned).ok_or_else(|| wrong("tool_choice", "tool_choice names no function"))
}

fn kind(value: &Value) -> Option<&str> {
    text(value, "type")
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// The problem of a run that could not start; what an agent cannot do with tools is about `tools`.
pub(super) fn not_started(error: Error, uses_tools: bool) -> Problem {
    if error.kind() == ErrorKind::Unsupported && uses_tools {
        return unsupported("tools", error.message());
    }
    error.into()
}

/// A call of the model, for the client.
pub(super) fn outgoing(call: &ToolCall) -> Call {
    Call::new(call.id.clone(), CalledFunction { name: call.name.clone(), arguments: arguments(call) })
}

/// A call's arguments as JSON; what a model wrote that is none stays as it is.
pub(super) fn arguments(call: &ToolCall) -> String {
    call.arguments.as_str().map_or_else(|| call.arguments.to_string(), str::to_owned)
}

/// A call that the client gives back.
pub(super) fn incoming(call: Call) -> ToolCall {
    let Call { id, function: CalledFunction { name, arguments }, .. } = call;
    let read = serde_json::from_str(&arguments).ok().filter(Value::is_object);
    let arguments = read.unwrap_or_else(|| match arguments.trim() {
        "" => json!({}),
        _ => json!({ "malformed_arguments": arguments }),
    });
    ToolCall { id, name, arguments }
}
