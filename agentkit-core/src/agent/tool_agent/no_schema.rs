//! What is checked of arguments where JSON Schemas are not built in: that they are an object.

use serde_json::Value;

use crate::error::Result;
use crate::tool::ToolSpec;

/// Stands for a schema; tools check their arguments themselves.
pub(super) struct Schema;

impl Schema {
    pub(super) fn new(_spec: &ToolSpec) -> Result<Self> {
        Ok(Self)
    }

    /// What is wrong with `arguments`, in words for a model.
    pub(super) fn faults(&self, arguments: &Value) -> Option<String> {
        (!arguments.is_object()).then(|| "the arguments must be an object".to_owned())
    }
}
