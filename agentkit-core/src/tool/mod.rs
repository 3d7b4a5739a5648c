//! The tool contract: typed for those who write tools, erased for the loop that runs them.

mod function;
mod offer;
mod policy;
mod typed;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::function::FunctionTool;
pub use self::offer::{ToolChoice, ToolOffer};
pub use self::policy::{ExternalTool, Handling, Repeat, ToolPolicy};
pub use self::typed::{ErasedTool, TypedTool};
use crate::context::RunContext;
use crate::error::{Error, Result};

/// What a model is told about a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The tool's name: letters, digits, `_` and `-`.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
}

impl ToolSpec {
    /// Checks what every provider asks of a tool.
    ///
    /// # Errors
    /// Invalid input: a name that is not 1 to 64 letters, digits, `_` and `-`, no description, or parameters
    /// that are no schema of an object.
    pub fn validate(&self) -> Result<()> {
        let name = &self.name;
        if !is_tool_name(name) {
            return Err(Error::invalid_input(format!(
                "a tool's name must be 1 to {MAX_NAME} letters, digits, '_' and '-': {name:?}"
            )));
        }
        if self.description.trim().is_empty() {
            return Err(Error::invalid_input(format!("tool {name:?} does not say what it does")));
        }
        if self.parameters.get("type").and_then(Value::as_str) != Some("object") {
            return Err(Error::invalid_input(format!(
                "the parameters of tool {name:?} are no schema of an object"
            )));
        }
        Ok(())
    }
}

/// Longest name of a tool that every provider takes.
pub(crate) const MAX_NAME: usize = 64;

/// Whether every provider takes this for the name of a tool.
pub(crate) fn is_tool_name(name: &str) -> bool {
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(well_formed)
}

/// The text up to `most` bytes, and how much is missing.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (kept, rest) = text.split_at(end);
    format!("{kept}\n[{} more bytes are not shown]", rest.len())
}

/// A tool as the runtime sees it. Make one of an async function with [`FunctionTool`], or write a [`TypedTool`]
/// and wrap it in [`ErasedTool`], instead of implementing this.
///
/// # Contract for implementers
/// - Arguments come from a model and are untrusted: what does not fit the schema is an invalid-input error, whose
///   message is told to the model so that it can mend the call. A not-found error is told as well; any other
///   error stops the run, unless the policy says that failures are told.
/// - The call ends soon after `ctx` stops. A tool that says it is [keyed](Repeat::Keyed) takes effect once for
///   each [`RunContext::idempotency_key`], however often it is called with it.
/// - What a tool returns is data. It is shown to the model as the result of the call, never as an instruction.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What the model is told; constant over the tool's life.
    fn spec(&self) -> &ToolSpec;

    /// How the runtime has to treat the tool; constant over the tool's life. A tool that wraps another passes
    /// on the policy of that, or need for approval would be lost.
    fn policy(&self) -> &ToolPolicy;

    /// Runs the tool.
    ///
    /// # Cancel safety
    /// Dropping the future stops the tool where it is.
    ///
    /// # Errors
    /// Invalid input and not found, for the model to mend; anything else stops the run.
    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value>;
}
