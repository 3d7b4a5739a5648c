//! The tools of a run by name, with their schemas.

use std::sync::Arc;

use serde_json::Value;

use crate::agent::AgentInput;
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::tool::{Tool, ToolSpec};

/// Makes the tools of a run.
pub(super) struct ToolSource(Box<MakeTools>);

type MakeTools = dyn Fn(&AgentInput) -> Result<Vec<Arc<dyn Tool>>> + Send + Sync;

impl ToolSource {
    pub(super) fn new<F>(make: F) -> Self
    where
        F: Fn(&AgentInput) -> Result<Vec<Arc<dyn Tool>>> + Send + Sync + 'static,
    {
        Self(Box::new(make))
    }

    pub(super) fn tools(&self, input: &AgentInput) -> Result<Vec<Arc<dyn Tool>>> {
        (self.0)(input)
    }
}

/// Tools whose specifications are sound and whose names differ.
#[derive(Clone, Default)]
pub(crate) struct Toolbox(Vec<Offered>);

#[derive(Clone)]
pub(crate) struct Offered {
    pub(crate) tool: Arc<dyn Tool>,
    schema: Arc<Schema>,
}

impl Toolbox {
    pub(crate) fn new(tools: Vec<Arc<dyn Tool>>) -> Result<Self> {
        Self::default().with(tools)
    }

    /// These tools and `more`.
    pub(crate) fn with(&self, more: Vec<Arc<dyn Tool>>) -> Result<Self> {
        let mut all = self.clone();
        for tool in more {
            let spec = tool.spec();
            spec.validate()?;
            if all.get(&spec.name).is_some() {
                return Err(Error::invalid_input(format!("two tools are named {:?}", spec.name)));
            }
            let schema = Arc::new(Schema::new(&format!("tool {:?}", spec.name), &spec.parameters)?);
            all.0.push(Offered { tool, schema });
        }
        Ok(all)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Offered> {
        self.0.iter().find(|offered| offered.tool.spec().name == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.0.iter().map(|offered| &offered.tool)
    }

    pub(crate) fn specs(&self) -> Vec<ToolSpec> {
        self.iter().map(|tool| tool.spec().clone()).collect()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.iter().map(|tool| tool.spec().name.as_str()).collect()
    }
}

impl Offered {
    /// What is wrong with `arguments`, in words for a model.
    pub(crate) fn faults(&self, arguments: &Value) -> Option<String> {
        let faults = self.schema.faults(arguments)?;
        let name = &self.tool.spec().name;
        Some(format!(
            "not run: arguments of tool {name:?} do not fit its schema: {faults}; mend them and call it again"
        ))
    }
}
