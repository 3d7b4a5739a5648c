//! Tools as types: the schema comes from the type of the arguments.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Tool, ToolPolicy, ToolSpec};
use crate::context::RunContext;
use crate::error::{Error, Result};

/// A tool as its author writes it, where a [`FunctionTool`](super::FunctionTool) is too little.
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
    /// Invalid input and not found, for the model to mend; anything else stops the run.
    async fn call(&self, arguments: Self::Arguments, ctx: &RunContext) -> Result<Self::Output>;
}

/// A [`TypedTool`] made into a [`Tool`].
#[derive(Debug)]
pub struct ErasedTool<T> {
    spec: ToolSpec,
    policy: ToolPolicy,
    tool: T,
}

impl<T: TypedTool> ErasedTool<T> {
    /// Derives the specification from the tool's types.
    #[must_use]
    pub fn new(tool: T) -> Self {
        let spec = spec_of::<T::Arguments>(T::NAME.into(), T::DESCRIPTION.into());
        Self { spec, policy: ToolPolicy::default(), tool }
    }

    /// States how the tool is to be treated.
    #[must_use]
    pub fn policy(mut self, policy: ToolPolicy) -> Self {
        self.policy = policy;
        self
    }
}

#[async_trait]
impl<T: TypedTool> Tool for ErasedTool<T> {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        let arguments = read(T::NAME, arguments)?;
        let output = ctx.run(self.tool.call(arguments, ctx)).await?;
        written(T::NAME, output)
    }
}

pub(super) fn spec_of<A: JsonSchema>(name: String, description: String) -> ToolSpec {
    ToolSpec { name, description, parameters: schemars::schema_for!(A).to_value() }
}

/// The arguments as the type they have to be of.
pub(super) fn read<A: DeserializeOwned>(tool: &str, arguments: Value) -> Result<A> {
    let unfit =
        |why: &str| Error::invalid_input(format!("arguments of tool {tool:?} do not fit its schema: {why}"));
    // serde would read a list as a struct's fields in order.
    if !arguments.is_object() {
        return Err(unfit("they must be an object"));
    }
    serde_json::from_value(arguments).map_err(|error| unfit(&error.to_string()))
}

/// What a tool returned, as JSON.
pub(super) fn written(tool: &str, output: impl Serialize) -> Result<Value> {
    serde_json::to_value(output)
        .map_err(|error| Error::internal(format!("serialise the output of tool {tool:?}")).with_source(error))
}
