//! Whether JSON from a model fits a JSON Schema, and if not, why.

use jsonschema::Validator;
use serde_json::Value;

use crate::error::{Error, Result};

/// Faults that are told at a time.
const FAULTS: usize = 8;

/// A compiled schema.
pub(crate) struct Schema(Validator);

impl Schema {
    /// Compiles `schema`, which is the schema of `what`.
    pub(crate) fn new(what: &str, schema: &Value) -> Result<Self> {
        let refused = |error: jsonschema::ValidationError<'_>| {
            Error::invalid_input(format!("the schema of {what} cannot be used"))
                .with_source(error.to_string())
        };
        jsonschema::validator_for(schema).map(Self).map_err(refused)
    }

    /// What is wrong with `value`, in words for a model.
    pub(crate) fn faults(&self, value: &Value) -> Option<String> {
        let faults: Vec<String> = self.0.iter_errors(value).take(FAULTS).map(|fault| told(&fault)).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

fn told(fault: &jsonschema::ValidationError<'_>) -> String {
    let place = fault.instance_path().to_string();
    if place.is_empty() { fault.to_string() } else { format!("at {place}: {fault}") }
}
