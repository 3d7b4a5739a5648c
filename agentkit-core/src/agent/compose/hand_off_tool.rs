//! The tool by which an agent hands the conversation on.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::tool::{Tool, ToolPolicy, ToolSpec};

/// What models know it by.
pub(super) const NAME: &str = "hand_off";

/// Ends the run of the agent that calls it.
pub(super) struct HandOffTool {
    spec: ToolSpec,
    policy: ToolPolicy,
}

impl HandOffTool {
    /// Hands on to these colleagues, each a name and what it is for.
    pub(super) fn new<'c>(colleagues: impl IntoIterator<Item = (&'c str, &'c str)>) -> Self {
        let (mut names, mut description) =
            (Vec::new(), String::from("Hands the conversation to a colleague:"));
        for (name, purpose) in colleagues {
            description = format!("{description}\n- {name}: {purpose}");
            names.push(name);
        }
        let note =
            json!({"type": "string", "maxLength": 2000, "description": "What the colleague should know."});
        let parameters = json!({
            "type": "object",
            "properties": {"to": {"type": "string", "enum": names}, "note": note},
            "required": ["to"],
            "additionalProperties": false,
        });
        let spec = ToolSpec { name: NAME.into(), description, parameters };
        Self { spec, policy: ToolPolicy::new() }
    }
}

#[async_trait]
impl Tool for HandOffTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        ctx.check()?;
        let (to, known) = (text(&arguments, "to"), self.spec.parameters.pointer("/properties/to/enum"));
        if !known.and_then(Value::as_array).is_some_and(|names| names.contains(&json!(to))) {
            return Err(Error::invalid_input(format!("there is no colleague {to:?}")));
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("only agents of a HandOff can be {}", handing_to(&to)),
        ))
    }
}

/// By these words the end of a run is known for a hand-off.
pub(super) fn handing_to(name: &str) -> String {
    format!("handing the conversation to {name:?}")
}

pub(super) fn text(arguments: &Value, name: &str) -> String {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
