//! The suite of the [`Tool`] contract.

use serde_json::{Value, json};

use super::{ends_when_cancelled, is_invalid, is_stopped, soon, stopped_contexts, succeeds};
use crate::context::RunContext;
use crate::tool::Tool;

/// Holds `tool` to its contract; it is called with `arguments`, which must fit its schema.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Dropping the future stops the tool where it is.
pub async fn tool(tool: &dyn Tool, arguments: Value) {
    the_specification_is_sound(tool);
    let ctx = RunContext::new();
    for wrong in [json!(null), json!(true), json!(42), json!("text"), json!([]), json!([42]), json!(["text"])]
    {
        let what = format!("arguments {wrong} that are no object");
        is_invalid(&what, soon(&what, tool.call(wrong, &ctx)).await);
    }
    for (why, ctx) in stopped_contexts() {
        let what = format!("the tool under {why}");
        is_stopped(&what, soon(&what, tool.call(arguments.clone(), &ctx)).await);
    }
    succeeds("the tool with valid arguments", tool.call(arguments.clone(), &ctx).await);
    ends_when_cancelled("the tool", &ctx, tool.call(arguments, &ctx)).await;
}

fn the_specification_is_sound(tool: &dyn Tool) {
    let spec = tool.spec();
    let well_formed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let named = !spec.name.is_empty() && spec.name.chars().all(well_formed);
    assert!(named, "the tool's name {:?} is not of letters, digits, '_' and '-'", spec.name);
    assert!(!spec.description.trim().is_empty(), "the tool does not say what it does");
    let schema = spec.parameters.get("type").and_then(Value::as_str);
    assert_eq!(schema, Some("object"), "the tool's parameters are no schema of an object");
    assert_eq!(spec, tool.spec(), "the specification changed between two calls");
    assert_eq!(tool.policy(), tool.policy(), "the policy changed between two calls");
}
