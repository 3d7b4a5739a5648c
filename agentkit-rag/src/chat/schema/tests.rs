//! Whatever path the machine is walked on, what comes out is valid by an independent validator.

use agentkit_core::ErrorKind;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Bytes after which a walk prefers to end.
const LONG: usize = 200;

/// Walks at random through what `schema` allows; gives the text.
fn walk(schema: &Value, seed: u64) -> String {
    let mut constraint = Constraint::new(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut text = Vec::new();
    while !constraint.is_over() {
        let allowed: Vec<u8> = (0..=u8::MAX).filter(|byte| constraint.allows(&[*byte])).collect();
        let may_end = constraint.machine().may_end(&constraint.states);
        if may_end && (allowed.is_empty() || text.len() > LONG || chance.bool()) {
            break;
        }
        let shown = String::from_utf8_lossy(&text).into_owned();
        assert!(!allowed.is_empty(), "nothing may follow {shown} by {schema}");
        let ends = allowed.iter().find(|byte| b"\"}]".contains(byte)).copied();
        // Most of what a string may hold is rare, so what is not is preferred.
        let plain: Vec<u8> = allowed.iter().copied().filter(|byte| (b' '..=b'~').contains(byte)).collect();
        let from = if chance.u8(..4) > 0 && !plain.is_empty() { &plain } else { &allowed };
        let byte = ends
            .filter(|_| text.len() > LONG || chance.u8(..4) == 0)
            .unwrap_or(from[chance.usize(..from.len())]);
        constraint.push(&[byte]);
        text.push(byte);
        assert!(text.len() < 20_000, "{shown} goes on by {schema}");
    }
    String::from_utf8(text).expect("only whole characters are allowed")
}

fn valid(schema: &Value, text: &str) -> bool {
    let value: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text} by {schema}"));
    jsonschema::validator_for(schema).expect("the schema is one").is_valid(&value)
}

fn leaf() -> impl Strategy<Value = Value> {
    let text = (0_usize..4, 0_usize..6)
        .prop_map(|(least, more)| json!({"type": "string", "minLength": least, "maxLength": least + more}));
    let whole = (-2000_i64..2000, 0_i64..3000)
        .prop_map(|(least, more)| json!({"type": "integer", "minimum": least, "maximum": least + more}));
    let decimal = (-50.0_f64..50.0, 0.1_f64..40.0).prop_map(
        |(least, more)| json!({"type": "number", "exclusiveMinimum": least, "maximum": least + more}),
    );
    prop_oneof![
        text,
        whole,
        decimal,
        vec(
            prop_oneof![
                Just(json!(1)),
                Just(json!(12)),
                Just(json!("a\"b")),
                Just(json!(null)),
                Just(json!({"x": [1]}))
            ],
            1..4
        )
        .prop_map(|values| json!({"enum": values})),
        Just(json!({"type": ["boolean", "null"], "description": "annotations are passed over"})),
        Just(json!({"type": "number"})),
        Just(json!({"type": "integer", "exclusiveMaximum": -3, "format": "int32"})),
        Just(json!({"const": {"é": "🙂"}})),
        Just(json!({})),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let list = (inner.clone(), 0_usize..3, 0_usize..3)
            .prop_map(|(item, least, more)| json!({"type": "array", "items": item, "minItems": least, "maxItems": least + more}));
        let record = btree_map("[a-c\"é]{1,2}", (inner.clone(), any::<bool>()), 0..4).prop_map(|members| {
            let required: Vec<&String> = members.iter().filter(|(_, (_, needed))| *needed).map(|(name, _)| name).collect();
            let properties: serde_json::Map<_, _> =
                members.iter().map(|(name, (schema, _))| (name.clone(), schema.clone())).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        });
        let table = inner.clone().prop_map(|value| json!({"type": "object", "additionalProperties": value}));
        let either = vec(inner, 1..4).prop_map(|branches| json!({"anyOf": branches}));
        prop_oneof![list, record, table, either]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_walk_ends_in_a_value_that_an_independent_validator_accepts(schema in schema(), seed in any::<u64>()) {
        let text = walk(&schema, seed);
        prop_assert!(valid(&schema, &text), "{text} by {schema}");
    }

    /// What is written the way the machine writes is taken, so it does not refuse what is valid.
    #[test]
    fn a_value_that_was_walked_to_is_taken_again(schema in schema(), seed in any::<u64>()) {
        let text = walk(&schema, seed);
        let mut constraint = Constraint::new(&schema).unwrap();
        for byte in text.bytes() {
            prop_assert!(constraint.allows(&[byte]));
            constraint.push(&[byte]);
        }
        prop_assert!(constraint.machine().may_end(&constraint.states));
    }
}

/// Whether `schema` takes `text` and lets it end.
fn takes(schema: &Value, text: &str) -> bool {
    let mut constraint = Constraint::new(schema).unwrap_or_else(|error| panic!("{error}"));
    constraint.push(text.as_bytes());
    constraint.machine().may_end(&constraint.states)
}

#[test]
fn what_typed_programs_declare_is_kept() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Shape",
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": "dot"}}, "required": ["kind"]},
            {"type": "object", "required": ["kind", "parts"], "properties": {
                "kind": {"const": "group", "type": "string"},
                "parts": {"type": "array", "items": {"$ref": "#"}},
                "note": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}]},
            }},
        ],
        "$defs": {"Note": {"type": "string", "maxLength": 3}},
    });
    for (text, expected) in [
        (r#"{"kind":"dot"}"#, true),
        (r#"{"kind": "group", "note": null, "parts": [{"kind":"dot"}]}"#, true),
        (r#"{"kind":"group","note":"abc","parts":[{"kind":"group","parts":[]}]}"#, true),
        (r#"{"kind":"group","note":"abcd","parts":[]}"#, false),
        (r#"{"kind":"group"}"#, false),
        (r#"{"kind":"dots"}"#, false),
        (r#"{"kind":"dot"} "#, false),
    ] {
        assert_eq!(takes(&schema, text), expected, "{text}");
    }
    for seed in 0..50 {
        let text = walk(&schema, seed);
        assert!(valid(&schema, &text), "{text}");
    }
}

#[test]
fn bounds_of_numbers_are_exact() {
    let whole = json!({"type": "integer", "minimum": -12, "maximum": 105});
    let decimal = json!({"type": "number", "minimum": 0.25, "exclusiveMaximum": 1});
    for (schema, text, expected) in [
        (&whole, "-12", true),
        (&whole, "-13", false),
        (&whole, "105", true),
        (&whole, "106", false),
        (&whole, "0", true),
        (&whole, "-0", false),
        (&whole, "01", false),
        (&whole, "1.0", false),
        (&decimal, "0.25", true),
        (&decimal, "0.2", false),
        (&decimal, "0.999", true),
        (&decimal, "1", false),
        (&decimal, "1.0", false),
        (&decimal, "0.", false),
    ] {
        assert_eq!(takes(schema, text), expected, "{text}");
    }
}

#[test]
fn what_is_not_kept_is_refused_and_what_is_no_schema_is_told() {
    for (schema, kind, about) in [
        (json!({"type": "string", "pattern": "a"}), ErrorKind::Unsupported, "pattern"),
        (json!({"type": "number", "multipleOf": 2}), ErrorKind::Unsupported, "multipleOf"),
        (json!({"not": {}}), ErrorKind::Unsupported, "not"),
        (json!({"$ref": "https://example.com/a"}), ErrorKind::Unsupported, "example.com"),
        (json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}), ErrorKind::Unsupported, "oneOf"),
        (json!({"enum": [1], "minimum": 2}), ErrorKind::Unsupported, "minimum"),
        (json!({"type": "object", "required": ["a"]}), ErrorKind::Unsupported, "required"),
        (
            json!({"properties": {"a": {}, "b": {"$ref": ""}}, "type": "object"}),
            ErrorKind::Unsupported,
            "$ref",
        ),
        (json!({"type": "integer", "exclusiveMinimum": i64::MAX}), ErrorKind::InvalidInput, "satisfy"),
        (json!({"type": "integer", "exclusiveMaximum": -1e300}), ErrorKind::InvalidInput, "satisfy"),
        (json!({"$ref": "#/nowhere"}), ErrorKind::InvalidInput, "nowhere"),
        (json!({"type": "strings"}), ErrorKind::InvalidInput, "strings"),
        (json!({"type": "integer", "minimum": 2, "maximum": 1}), ErrorKind::InvalidInput, "satisfy"),
        (json!({"enum": []}), ErrorKind::InvalidInput, "satisfy"),
        (json!(false), ErrorKind::InvalidInput, "false"),
        (json!(3), ErrorKind::InvalidInput, "3"),
    ] {
        let error = Constraint::new(&schema).unwrap_err();
        assert_eq!(error.kind(), kind, "{schema}: {error}");
        assert!(error.message().contains(about), "{schema}: {error}");
    }
}

#[test]
fn hostile_schemas_end() {
    let mut defs = serde_json::Map::new();
    for level in 0..22 {
        for side in ["a", "b"] {
            let next = json!({"$ref": format!("#/$defs/{side}{}", level + 1)});
            let part = json!({
                "type": "object", "required": ["p", "q", "r", "s"],
                "properties": {"p": next, "q": next, "r": next, "s": next},
            });
            defs.insert(format!("{side}{level}"), part);
        }
    }
    for side in ["a22", "b22"] {
        defs.insert(side.into(), json!({"type": "string"}));
    }
    let wide = json!({"oneOf": [{"$ref": "#/$defs/a0"}, {"$ref": "#/$defs/b0"}], "$defs": defs});
    assert_eq!(Constraint::new(&wide).unwrap_err().kind(), ErrorKind::Unsupported);
    let mut deep = json!({"type": "null"});
    for _ in 0..1000 {
        deep = json!({"type": "array", "items": deep});
    }
    assert!(Constraint::new(&deep).unwrap_err().is_invalid_input());
    let endless = json!({"anyOf": [{"$ref": "#"}]});
    let constraint = Constraint::new(&endless).unwrap();
    assert!((0..=u8::MAX).all(|byte| !constraint.allows(&[byte])));
    let many: Vec<Value> = (0..5000).map(|n| json!({"const": n})).collect();
    assert!(Constraint::new(&json!({"anyOf": many})).unwrap_err().is_invalid_input());
}
