//! A tool that gives back what it was given.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::RunContext;
use crate::error::Result;
use crate::tool::{ErasedTool, TypedTool};

/// Returns its argument, so a test can see what a model asked for.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct EchoTool;

/// What [`EchoTool`] takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoArguments {
    /// The text to give back.
    pub text: String,
}

impl EchoTool {
    /// The tool as the runtime sees it.
    #[must_use]
    pub fn erased() -> ErasedTool<Self> {
        ErasedTool::new(Self)
    }
}

#[async_trait]
impl TypedTool for EchoTool {
    const NAME: &'static str = "echo";
    const DESCRIPTION: &'static str = "Gives back the text it is given.";
    type Arguments = EchoArguments;
    type Output = EchoArguments;

    async fn call(&self, arguments: EchoArguments, _ctx: &RunContext) -> Result<EchoArguments> {
        Ok(arguments)
    }
}
