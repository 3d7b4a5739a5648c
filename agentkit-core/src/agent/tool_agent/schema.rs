//! Whether arguments fit a tool's JSON Schema, and if not, why.

use jsonschema::Validator;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::tool::ToolSpec;

/// Faults that are told at a time.
const FAULTS: usize = 8;

/// A compiled schema.
pub(super) struct Schema(Validator);

impl Schema {
    pub(super) fn new(spec: &ToolSpec) -> Result<Self> {
        let refused = |error: jsonschema::ValidationError<'_>| {
            Error::invalid_input(format!("the schema of tool {:?} cannot be used", spec.name))
                .with_source(error.to_string())
        };
        jsonschema::validator_for(&spec.parameters).map(Self).map_err(refused)
    }

    /// What is wrong with `arguments`, in words for a model.
    pub(super) fn faults(&self, arguments: &Value) -> Option<String> {
        let faults: Vec<String> =
            self.0.iter_errors(arguments).take(FAULTS).map(|fault| told(&fault)).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

fn told(fault: &jsonschema::ValidationError<'_>) -> String {
    let place = fault.instance_path().to_string();
    let place = if place.is_empty() { "the arguments".into() } else { format!("at {place}") };
    format!("{place}: {fault}")
}
