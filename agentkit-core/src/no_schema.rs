//! What is checked of JSON from a model where JSON Schemas are not built in: that it is an object.

use serde_json::Value;

use crate::error::Result;

/// Stands for a schema; tools and types check what they are given themselves.
pub(crate) struct Schema;

impl Schema {
    /// Stands for the schema of `_what`.
    pub(crate) fn new(_what: &str, _schema: &Value) -> Result<Self> {
        Ok(Self)
    }

    /// What is wrong with `value`, in words for a model.
    pub(crate) fn faults(&self, value: &Value) -> Option<String> {
        (!value.is_object()).then(|| "it must be an object".to_owned())
    }
}
