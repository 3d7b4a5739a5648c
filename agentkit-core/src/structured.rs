//! A Rust type in, a checked value of it out of a model.
//!
//! There are three ways to ask for JSON of a form: by the provider's own means, as the arguments of a tool that
//! the model has to call, and in words. None of them can be trusted, so the value is checked whichever it was,
//! and the model is told what is wrong with it, as often as is allowed.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value, json};

use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Part, Role, ToolCall, ToolResult};
use crate::model::{ChatModel, ChatRequest, ChatResponse, ModelInfo, OutputSchema, Usage, complete};
use crate::schema::Schema;
use crate::tool::{ToolSpec, is_tool_name};

/// How often the model may mend its answer unless told otherwise.
const REPAIRS: u32 = 2;

/// How a model is asked for JSON of a form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputMode {
    /// The best that the model says it can do.
    #[default]
    Auto,
    /// By the provider's own means: [`ChatRequest::output_schema`].
    Native,
    /// As the arguments of a tool that stands for the answer.
    Tool,
    /// In words, with the schema in the instructions.
    Prompt,
}

/// Asks models for values of a type.
///
/// # Examples
/// ```
/// use agentkit_core::testing::ScriptedModel;
/// use agentkit_core::{ChatRequest, Message, OutputMode, RunContext, StructuredOutput};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct City {
///     name: String,
///     inhabitants: u64,
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let model = ScriptedModel::saying(r#"Here it is: {"name": "Oslo", "inhabitants": 717710}"#);
/// let request = ChatRequest::new(vec![Message::user("Which city is the capital of Norway?")]);
/// let output = StructuredOutput::new("city").mode(OutputMode::Prompt);
/// let city = output.ask::<City>(&model, request, &RunContext::new()).await.unwrap();
/// assert_eq!(city.value.name, "Oslo");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct StructuredOutput {
    name: String,
    mode: OutputMode,
    repairs: u32,
}

/// A value that a model gave.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Structured<T> {
    /// The value.
    pub value: T,
    /// What it cost, repairs included.
    pub usage: Usage,
    /// How often the model had to mend its answer.
    pub repairs: u32,
}

impl StructuredOutput {
    /// Asks for values that are called `name`, which the model is told: letters, digits, `_` and `-`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), mode: OutputMode::Auto, repairs: REPAIRS }
    }

    /// How to ask.
    #[must_use]
    pub fn mode(mut self, mode: OutputMode) -> Self {
        self.mode = mode;
        self
    }

    /// How often the model may mend its answer; twice by default.
    #[must_use]
    pub fn repairs(mut self, most: u32) -> Self {
        self.repairs = most;
        self
    }

    /// Asks `model` for a `T`, which must be a struct.
    ///
    /// # Cancel safety
    /// Dropping the future ends the request.
    ///
    /// # Errors
    /// What the model fails with; unsupported, if it cannot be asked in this mode; invalid input for a malformed
    /// name or a type that is no object; unavailable, naming the last fault, if the answer was still wrong after
    /// the last repair; or stopped.
    pub async fn ask<T>(
        &self,
        model: &dyn ChatModel,
        request: ChatRequest,
        ctx: &RunContext,
    ) -> Result<Structured<T>>
    where
        T: DeserializeOwned + JsonSchema,
    {
        let form = Form::new::<T>(&self.name, self.mode, model.info())?;
        let mut request = form.asked_for(request);
        let (mut usage, mut repairs) = (Usage::default(), 0);
        loop {
            let answer = complete(model, request.clone(), ctx).await?;
            ctx.spend_tokens(answer.usage.total())?;
            usage.input_tokens = usage.input_tokens.saturating_add(answer.usage.input_tokens);
            usage.output_tokens = usage.output_tokens.saturating_add(answer.usage.output_tokens);
            let fault = match form.read(&answer) {
                Ok(value) => return Ok(Structured { value, usage, repairs }),
                Err(fault) => fault,
            };
            if repairs == self.repairs {
                return Err(self.gave_up(&fault));
            }
            repairs += 1;
            ask_again(&mut request, answer, &fault);
        }
    }

    fn gave_up(&self, fault: &Fault) -> Error {
        let Self { name, repairs, .. } = self;
        let message = format!("the model gave no valid {name:?} after {repairs} repairs: {fault}");
        Error::new(ErrorKind::Unavailable, message)
    }
}

/// What is wrong with an answer, in words for the model.
struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked for, and how.
struct Form {
    name: String,
    mode: OutputMode,
    schema: Value,
    check: Schema,
}

impl Form {
    fn new<T: JsonSchema>(name: &str, mode: OutputMode, model: &ModelInfo) -> Result<Self> {
        if !is_tool_name(name) {
            let rule = "must be 1 to 64 letters, digits, '_' and '-'";
            return Err(Error::invalid_input(format!("the name of an output {rule}: {name:?}")));
        }
        let schema = schemars::schema_for!(T).to_value();
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(Error::invalid_input(format!(
                "the type of {name:?} must be a struct, so that it is an object"
            )));
        }
        let check = Schema::new(&format!("{name:?}"), &schema)?;
        Ok(Self { name: name.to_owned(), mode: resolved(mode, model)?, schema, check })
    }

    fn asked_for(&self, mut request: ChatRequest) -> ChatRequest {
        let Self { name, schema, .. } = self;
        match self.mode {
            OutputMode::Native => {
                request.output_schema = Some(OutputSchema { name: name.clone(), schema: schema.clone() });
            }
            OutputMode::Tool => {
                let description = "Takes the final answer. Call it once, with the whole answer.".to_owned();
                let spec = ToolSpec { name: name.clone(), description, parameters: schema.clone() };
                request.tools = vec![spec];
                request.messages.push(Message::system(format!("Answer by calling the tool {name}.")));
            }
            OutputMode::Auto | OutputMode::Prompt => request.messages.push(Message::system(format!(
                "Answer with one JSON object and nothing else. It must fit this JSON Schema:\n{schema}"
            ))),
        }
        request
    }

    fn read<T: DeserializeOwned>(&self, answer: &ChatResponse) -> std::result::Result<T, Fault> {
        let value = match self.mode {
            OutputMode::Tool => self.argument(answer)?,
            _ => object_in(&answer.text)?,
        };
        if let Some(faults) = self.check.faults(&value) {
            return Err(Fault(format!("it does not fit the schema: {faults}")));
        }
        serde_json::from_value(value).map_err(|error| Fault(format!("it does not fit the schema: {error}")))
    }

    fn argument(&self, answer: &ChatResponse) -> std::result::Result<Value, Fault> {
        let mut calls = answer.tool_calls.iter().filter(|call| call.name == self.name);
        let call = calls.next().ok_or_else(|| Fault(format!("the tool {} was not called", self.name)))?;
        Ok(call.arguments.clone())
    }
}

/// Adds the answer and what is wrong with it, so that the history stays valid.
fn ask_again(request: &mut ChatRequest, answer: ChatResponse, fault: &Fault) {
    let told = format!("This is not valid: {fault}. Answer again, with all of it.");
    let calls: Vec<ToolCall> = answer.tool_calls;
    let text = Some(Part::Text { text: answer.text }).filter(is_spoken);
    let results = calls.iter().map(|call| {
        Part::ToolResult(ToolResult { call_id: call.id.clone(), content: told.clone(), is_error: true })
    });
    let results: Vec<Part> = results.collect();
    let parts: Vec<Part> = text.into_iter().chain(calls.into_iter().map(object_call)).collect();
    if !parts.is_empty() {
        request.messages.push(Message { role: Role::Assistant, parts });
    }
    if results.is_empty() {
        request.messages.push(Message::user(told));
    } else {
        request.messages.push(Message { role: Role::Tool, parts: results });
    }
}

fn resolved(mode: OutputMode, model: &ModelInfo) -> Result<OutputMode> {
    let can = model.capabilities;
    let refused = |what: &str| {
        Err(Error::new(ErrorKind::Unsupported, format!("the model {:?} has no {what}", model.name)))
    };
    match mode {
        OutputMode::Native if !can.structured_output => refused("structured output"),
        OutputMode::Tool if !can.tools => refused("tools"),
        OutputMode::Auto if can.structured_output => Ok(OutputMode::Native),
        OutputMode::Auto if can.tools => Ok(OutputMode::Tool),
        OutputMode::Auto => Ok(OutputMode::Prompt),
        mode => Ok(mode),
    }
}

fn is_spoken(part: &Part) -> bool {
    matches!(part, Part::Text { text } if !text.trim().is_empty())
}

/// The call with an object of arguments, as strict providers ask for.
fn object_call(mut call: ToolCall) -> Part {
    if !call.arguments.is_object() {
        call.arguments = json!({ "arguments_that_are_no_object": call.arguments });
    }
    Part::ToolCall(call)
}

/// The first JSON object in a text, which may stand in a sentence or a fenced block.
fn object_in(text: &str) -> std::result::Result<Value, Fault> {
    let starts = text.match_indices('{').map(|(at, _)| at).take(32);
    let mut fault = "it holds no JSON object".to_owned();
    for (tried, start) in starts.enumerate() {
        let rest = text.get(start..).unwrap_or_default();
        match Deserializer::from_str(rest).into_iter::<Value>().next() {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) if tried == 0 => fault = format!("it is no JSON: {error}"),
            _ => {}
        }
    }
    Err(Fault(fault))
}
