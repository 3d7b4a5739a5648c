//! The tool contract: typed for those who write tools, erased for the loop that runs them.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// A tool as the runtime sees it. Write a [`TypedTool`] and wrap it in [`ErasedTool`] instead of implementing this.
///
/// # Contract for implementers
/// Arguments come from a model and are untrusted: what does not fit the schema is an invalid-input error, whose
/// message is told to the model so that it can mend the call. Any other error stops the run. The call ends soon
/// after `ctx` stops.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What the model is told; constant over the tool's life.
    fn spec(&self) -> &ToolSpec;

    /// Runs the tool.
    ///
    /// # Cancel safety
    /// Dropping the future stops the tool where it is.
    ///
    /// # Errors
    /// Invalid input for the model to mend; anything else stops the run.
    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value>;
}

/// A tool as its author writes it.
///
/// # Examples
/// ```
/// use agentkit_core::{ErasedTool, Result, RunContext, Tool, TypedTool};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// struct Add;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Numbers { a: i64, b: i64 }
///
/// #[async_trait::async_trait]
/// impl TypedTool for Add {
///     const NAME: &'static str = "add";
///     const DESCRIPTION: &'static str = "Adds two numbers.";
///     type Arguments = Numbers;
///     type Output = i64;
///     async fn call(&self, numbers: Numbers, _ctx: &RunContext) -> Result<i64> {
///         Ok(numbers.a + numbers.b)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let tool = ErasedTool::new(Add);
/// let ctx = RunContext::new();
/// assert_eq!(tool.call(serde_json::json!({"a": 1, "b": 2}), &ctx).await.unwrap(), 3);
/// assert!(tool.call(serde_json::json!({"a": "x"}), &ctx).await.unwrap_err().is_invalid_input());
/// # });
/// ```
#[async_trait]
pub trait TypedTool: Send + Sync {
    /// The tool's name.
    const NAME: &'static str;
    /// What it does and when to use it, for the model.
    const DESCRIPTION: &'static str;
    /// What it takes.
    type Arguments: DeserializeOwned + JsonSchema + Send;
    /// What it gives.
    type Output: Serialize + Send;

    /// Runs the tool.
    ///
    /// # Cancel safety
    /// Dropping the future stops the tool where it is.
    ///
    /// # Errors
    /// Invalid input for the model to mend; anything else stops the run.
    async fn call(&self, arguments: Self::Arguments, ctx: &RunContext) -> Result<Self::Output>;
}

/// A [`TypedTool`] made into a [`Tool`].
#[derive(Debug)]
pub struct ErasedTool<T> {
    spec: ToolSpec,
    tool: T,
}

impl<T: TypedTool> ErasedTool<T> {
    /// Derives the specification from the tool's types.
    #[must_use]
    pub fn new(tool: T) -> Self {
        let spec = ToolSpec {
            name: T::NAME.into(),
            description: T::DESCRIPTION.into(),
            parameters: schemars::schema_for!(T::Arguments).to_value(),
        };
        Self { spec, tool }
    }
}

#[async_trait]
impl<T: TypedTool> Tool for ErasedTool<T> {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        let unfit = |why: &str| {
            Error::invalid_input(format!("arguments of tool {:?} do not fit its schema: {why}", T::NAME))
        };
        // serde would read a list as a struct's fields in order.
        if !arguments.is_object() {
            return Err(unfit("they must be an object"));
        }
        let arguments = serde_json::from_value(arguments).map_err(|error| unfit(&error.to_string()))?;
        let output = ctx.run(self.tool.call(arguments, ctx)).await?;
        serde_json::to_value(output).map_err(|error| {
            Error::internal(format!("serialise the output of tool {:?}", T::NAME)).with_source(error)
        })
    }
}
