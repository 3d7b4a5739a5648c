//! Thousands of real functions as tools, and whether calls of them are refused as an independent validator says.
//!
//! Needs the data sets, named by `AGENTKIT_DATASETS`; the validator is that of Python's package jsonschema, if it
//! is installed.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use agentkit_core::testing::ScriptedTurn;
use agentkit_core::{Result, RunContext, RunLimits, Tool, ToolAgent, ToolPolicy, ToolSpec};
use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::tooling::*;

const FILES: [&str; 3] = ["simple_python.jsonl", "multiple.jsonl", "irrelevance.jsonl"];
/// Says for each line, an object with `schema` and `value`, whether the one fits the other.
const INDEPENDENT: &str = "
import sys, json
from jsonschema import Draft202012Validator
for line in sys.stdin:
    case = json.loads(line)
    print(json.dumps(Draft202012Validator(case['schema']).is_valid(case['value'])))
";

/// Accepts what it is called with: what is refused was refused before.
struct Accepting(ToolSpec);

#[async_trait]
impl Tool for Accepting {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    fn policy(&self) -> &ToolPolicy {
        const { &ToolPolicy::new() }
    }

    async fn call(&self, _arguments: Value, _ctx: &RunContext) -> Result<Value> {
        Ok(json!("ran"))
    }
}

/// The data set writes the types of Python where JSON Schema has its own.
fn as_schema(value: &Value) -> Value {
    let typed = |name: &str| match name {
        "dict" => "object",
        "float" => "number",
        "tuple" => "array",
        _ => "",
    };
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(name, value)| *name != "type" || *value != "any");
            let member = |(name, value): (&String, &Value)| match (name.as_str(), value.as_str()) {
                ("type", Some(python)) if !typed(python).is_empty() => (name.clone(), json!(typed(python))),
                _ => (name.clone(), as_schema(value)),
            };
            Value::Object(members.map(member).collect())
        }
        Value::Array(items) => items.iter().map(as_schema).collect(),
        other => other.clone(),
    }
}

fn spec(function: &Value) -> ToolSpec {
    let name: String = function["name"].as_str().unwrap().replace('.', "_").chars().take(64).collect();
    let description = function["description"].as_str().unwrap().into();
    ToolSpec { name, description, parameters: as_schema(&function["parameters"]) }
}

/// Arguments that the data set holds to be right: the first choice for each.
fn right(entry: &Value, name: &str) -> Option<Map<String, Value>> {
    let truth = entry["ground_truth"].as_array()?.iter().find_map(|call| call[name].as_object())?;
    let first = |(name, choices): (&String, &Value)| {
        let choice = choices.as_array()?.iter().find(|choice| **choice != "")?;
        Some((name.clone(), choice.clone()))
    };
    Some(truth.iter().filter_map(first).collect())
}

/// `arguments`, and what it becomes with one thing changed.
fn variants(arguments: &Map<String, Value>) -> Vec<Value> {
    let mut all =
        vec![Value::Object(arguments.clone()), json!({}), json!([]), json!("text"), json!({"unheard of": 1})];
    for name in arguments.keys() {
        let mut without = arguments.clone();
        without.remove(name);
        all.push(Value::Object(without));
        for other in [
            json!(null),
            json!("text"),
            json!(1),
            json!(1.5),
            json!(true),
            json!([]),
            json!([1, "a"]),
            json!({}),
        ] {
            let mut changed = arguments.clone();
            changed.insert(name.clone(), other);
            all.push(Value::Object(changed));
        }
    }
    all
}

/// Every function, with every variant of its arguments.
fn cases(entries: &[Value]) -> Vec<(ToolSpec, Vec<Value>)> {
    let mut cases = Vec::new();
    for entry in entries {
        for function in entry["function"].as_array().unwrap() {
            let arguments = right(entry, function["name"].as_str().unwrap()).unwrap_or_default();
            cases.push((spec(function), variants(&arguments)));
        }
    }
    cases
}

/// Whether the agent runs the tool, for each of these arguments.
async fn runs(spec: &ToolSpec, variants: &[Value]) -> Vec<bool> {
    let calls = (0..).zip(variants).map(|(n, value)| call(&format!("{n}"), &spec.name, value.clone()));
    let agent = ToolAgent::builder(model([asks(calls), ScriptedTurn::text("done")]))
        .tool(Arc::new(Accepting(spec.clone())))
        .limits(RunLimits::new().tool_calls(1000).identical_calls(1000))
        .build()
        .unwrap();
    let events = events(&agent, &RunContext::new()).await;
    let results = results(&events).into_iter();
    results
        .map(|result| {
            assert_eq!(result.is_error, result.content != "ran");
            !result.is_error
        })
        .collect()
}

/// What the independent validator says, in the order of the cases; `None` if it is not there.
fn independent(cases: &[(ToolSpec, Vec<Value>)]) -> Option<Vec<bool>> {
    let mut python = Command::new("python3")
        .args(["-c", INDEPENDENT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdin = python.stdin.take()?;
    let lines = cases.iter().flat_map(|(spec, variants)| {
        variants.iter().map(|value| json!({"schema": spec.parameters, "value": value}).to_string())
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = python.wait_with_output().ok()?;
    writer.join().unwrap().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    (!text.is_empty()).then(|| text.lines().map(|line| line == "true").collect())
}

#[tokio::test]
async fn real_functions_are_tools_and_their_calls_are_judged_as_an_independent_validator_does() {
    let Some(folder) =
        std::env::var_os("AGENTKIT_DATASETS").filter(|folder| !folder.is_empty()).map(PathBuf::from)
    else {
        println!("skipped: AGENTKIT_DATASETS does not name a folder of data sets");
        return;
    };
    let texts = FILES.map(|name| std::fs::read_to_string(folder.join("tools/bfcl").join(name)).unwrap());
    let entries = texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap());
    let cases = cases(&entries.collect::<Vec<_>>());
    let Some(verdicts) = independent(&cases) else {
        println!("skipped: there is no python3 with jsonschema");
        return;
    };
    let mut verdicts = verdicts.into_iter();
    let (mut judged, mut accepted) = (0, 0);
    for (spec, variants) in &cases {
        for (value, ran) in variants.iter().zip(runs(spec, variants).await) {
            let fits = verdicts.next().expect("the validator has judged every case");
            assert_eq!(ran, fits, "{value} for {}", spec.parameters);
            judged += 1;
            accepted += usize::from(ran);
        }
    }
    println!("{judged} calls of {} functions judged, {accepted} accepted", cases.len());
    assert!(judged > 10_000 && accepted > 500 && accepted < judged - 500);
}
