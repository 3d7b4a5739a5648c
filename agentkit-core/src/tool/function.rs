//! A tool made of an async function over a struct of arguments.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::typed::{read, spec_of, written};
use super::{Tool, ToolPolicy, ToolSpec};
use crate::context::RunContext;
use crate::error::Result;

type Outcome = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;
type Function = Arc<dyn Fn(Value, RunContext) -> Outcome + Send + Sync>;

/// An async function as a [`Tool`]: its argument's type gives the schema, and is checked before it is called.
///
/// # Examples
/// ```
/// use agentkit_core::{FunctionTool, RunContext, Tool};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct City {
///     /// The city's name in English.
///     name: String,
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let weather = FunctionTool::new("weather", "Tells the weather in a city.", |city: City, _ctx| async move {
///     Ok(format!("sunny in {}", city.name))
/// });
/// assert!(weather.spec().parameters["properties"]["name"]["description"].is_string());
/// let answer = weather.call(serde_json::json!({"name": "Oslo"}), &RunContext::new()).await.unwrap();
/// assert_eq!(answer, "sunny in Oslo");
/// # });
/// ```
#[derive(Clone)]
pub struct FunctionTool {
    spec: ToolSpec,
    policy: ToolPolicy,
    function: Function,
}

impl FunctionTool {
    /// Makes a tool of `function`, which is given the arguments and the context of the call.
    ///
    /// `A` must be a struct: models call tools with an object.
    #[must_use]
    pub fn new<A, O, F, Fut>(name: impl Into<String>, description: impl Into<String>, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send,
        O: Serialize + Send,
        F: Fn(A, RunContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O>> + Send + 'static,
    {
        let spec = spec_of::<A>(name.into(), description.into());
        let name: Arc<str> = spec.name.as_str().into();
        let function: Function = Arc::new(move |arguments, ctx| {
            let name = Arc::clone(&name);
            match read(&name, arguments) {
                Err(unfit) => Box::pin(std::future::ready(Err(unfit))),
                Ok(arguments) => {
                    let call = function(arguments, ctx);
                    Box::pin(async move { written(&name, call.await?) })
                }
            }
        });
        Self { spec, policy: ToolPolicy::default(), function }
    }

    /// States how the tool is to be treated.
    #[must_use]
    pub fn policy(mut self, policy: ToolPolicy) -> Self {
        self.policy = policy;
        self
    }
}

#[async_trait]
impl Tool for FunctionTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        ctx.check()?;
        ctx.run((self.function)(arguments, ctx.clone())).await
    }
}

impl fmt::Debug for FunctionTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionTool")
            .field("name", &self.spec.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
