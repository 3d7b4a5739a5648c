//! A JSON Schema as the nodes that the machine walks.
//!
//! Supported are the keywords that typed programs produce: `type`, `properties`, `required`, `additionalProperties`,
//! `items`, `minItems`, `maxItems`, `minLength`, `maxLength`, the four bounds of integers and numbers, `enum`, `const`,
//! `anyOf`, `oneOf` whose branches exclude each other, `allOf` of one, and `$ref` within the schema. Annotations are
//! passed over. Any other keyword is refused, because what was generated without it might not satisfy it.

use std::collections::BTreeMap;

use agentkit_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// Parts that a schema may have.
const MAX_NODES: usize = 4096;
/// How deep schemas may stand within each other.
const MAX_DEPTH: usize = 64;
/// Pairs of parts that are compared before branches count as overlapping.
const MAX_COMPARED: usize = 100_000;
/// Whole numbers up to here survive in double precision.
const MAX_WHOLE: i64 = (1 << 53) - 1;
/// Say nothing about what is valid.
const ANNOTATIONS: [&str; 14] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "$anchor",
];

/// The number of a node.
pub(super) type Id = usize;

/// What may stand at a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// One of these texts.
    Words(Vec<Vec<u8>>),
    /// A string of so many characters.
    Text { least: usize, most: usize },
    /// A whole number within bounds.
    Whole { least: i64, most: i64 },
    /// A number within bounds.
    Decimal { least: f64, most: f64, open: (bool, bool) },
    /// So many items.
    List { item: Option<Id>, least: usize, most: usize },
    /// These members in this order, some of which may be left out.
    Record(Vec<Member>),
    /// Members of any name.
    Table { value: Id },
    /// One of these.
    Either(Vec<Id>),
}

/// A member of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// The name as JSON, quotes included.
    pub(super) name: Vec<u8>,
    pub(super) value: Id,
    pub(super) required: bool,
}

/// A compiled schema; the root is the node that [`Compiler::compile`] gives.
#[derive(Debug, Default)]
pub(super) struct Compiler<'s> {
    root: Option<&'s Value>,
    pub(super) nodes: Vec<Node>,
    known: BTreeMap<String, Id>,
    any: Option<Id>,
}

impl<'s> Compiler<'s> {
    pub(super) fn new(root: &'s Value) -> Self {
        Self { root: Some(root), ..Self::default() }
    }

    /// Compiles the whole schema.
    ///
    /// # Errors
    /// Invalid input, if it is no schema or allows nothing; unsupported, naming the keyword.
    pub(super) fn compile(&mut self) -> Result<Id> {
        let root = self.root.unwrap_or(&Value::Null);
        self.node(root, 0)
    }

    fn push(&mut self, node: Node) -> Result<Id> {
        if self.nodes.len() >= MAX_NODES {
            return Err(Error::invalid_input(format!("the output schema has more than {MAX_NODES} parts")));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn node(&mut self, schema: &'s Value, depth: usize) -> Result<Id> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid_input(format!("the output schema is deeper than {MAX_DEPTH} levels")));
        }
        match schema {
            Value::Bool(true) => self.anything(),
            Value::Object(fields) => self.object(fields, depth),
            _ => {
                Err(Error::invalid_input(format!("{} is no schema that a value can satisfy", shown(schema))))
            }
        }
    }

    fn object(&mut self, fields: &'s Map<String, Value>, depth: usize) -> Result<Id> {
        let said = |key: &&String| !ANNOTATIONS.contains(&key.as_str());
        let keys: Vec<&str> = fields.keys().filter(said).map(String::as_str).collect();
        if keys.is_empty() {
            return self.anything();
        }
        for (key, alone) in
            [("$ref", &["$ref"][..]), ("const", &["const", "type"]), ("enum", &["enum", "type"])]
        {
            if let Some(value) = fields.get(key) {
                only(&keys, alone)?;
                return match value {
                    Value::String(path) if key == "$ref" => self.reference(path, depth),
                    Value::Array(values) if key == "enum" => self.words(values.iter(), fields.get("type")),
                    value if key == "const" => self.words([value].into_iter(), fields.get("type")),
                    _ => Err(malformed(key, value)),
                };
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(value) = fields.get(key) {
                only(&keys, &[key])?;
                return self.branches(key, value, depth);
            }
        }
        match fields.get("type") {
            Some(Value::String(kind)) => self.typed(kind, fields, &keys, depth),
            Some(Value::Array(kinds)) => {
                let mut either = Vec::new();
                for kind in kinds {
                    let kind = kind.as_str().ok_or_else(|| malformed("type", kind))?;
                    let own: Vec<&str> = keys.iter().copied().filter(|key| belongs(key, kind)).collect();
                    either.push(self.typed(kind, fields, &own, depth)?);
                }
                let known =
                    |key: &&&str| kinds.iter().filter_map(Value::as_str).any(|kind| belongs(key, kind));
                only(&keys, &keys.iter().filter(known).copied().collect::<Vec<_>>())?;
                self.push(Node::Either(either))
            }
            Some(other) => Err(malformed("type", other)),
            None => Err(unsupported(&format!("{} without \"type\"", keys.join(", ")))),
        }
    }

    fn typed(
        &mut self,
        kind: &str,
        fields: &'s Map<String, Value>,
        keys: &[&str],
        depth: usize,
    ) -> Result<Id> {
        if let Some(key) = keys.iter().find(|key| !belongs(key, kind)) {
            return Err(unsupported(&format!("{key:?} for a value of type {kind}")));
        }
        let count = |key: &str, absent: usize| match fields.get(key) {
            None => Ok(absent),
            Some(value) => {
                whole(value).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| malformed(key, value))
            }
        };
        match kind {
            "null" => self.push(Node::Words(vec![b"null".to_vec()])),
            "boolean" => self.push(Node::Words(vec![b"true".to_vec(), b"false".to_vec()])),
            "string" => {
                let (least, most) = (count("minLength", 0)?, count("maxLength", usize::MAX)?);
                self.bounded(least <= most, Node::Text { least, most })
            }
            "integer" => {
                let (least, most) = whole_bounds(fields)?;
                self.bounded(least <= most, Node::Whole { least, most })
            }
            "number" => {
                let (least, most, open) = bounds(fields)?;
                let some = least < most || (least <= most && open == (false, false));
                self.bounded(some, Node::Decimal { least, most, open })
            }
            "array" => {
                let (least, most) = (count("minItems", 0)?, count("maxItems", usize::MAX)?);
                let item = match fields.get("items") {
                    None | Some(Value::Bool(true)) if most > 0 => Some(self.anything()?),
                    Some(Value::Bool(false)) | None => None,
                    Some(item) => Some(self.node(item, depth + 1)?),
                };
                let most = if item.is_none() { 0 } else { most };
                self.bounded(least <= most, Node::List { item, least, most })
            }
            "object" => self.record(fields, depth),
            other => Err(Error::invalid_input(format!("the output schema has the unknown type {other:?}"))),
        }
    }

    fn bounded(&mut self, possible: bool, node: Node) -> Result<Id> {
        if possible { self.push(node) } else { Err(nothing(&format!("{node:?}"))) }
    }

    fn record(&mut self, fields: &'s Map<String, Value>, depth: usize) -> Result<Id> {
        let required: Vec<&str> = match fields.get("required") {
            None => Vec::new(),
            Some(Value::Array(names)) => {
                let name = |name: &'s Value| name.as_str().ok_or_else(|| malformed("required", name));
                names.iter().map(name).collect::<Result<_>>()?
            }
            Some(other) => return Err(malformed("required", other)),
        };
        let none = Map::new();
        let properties = match fields.get("properties") {
            None => None,
            Some(Value::Object(properties)) => Some(properties),
            Some(other) => return Err(malformed("properties", other)),
        };
        if let Some(name) = required.iter().find(|name| !properties.unwrap_or(&none).contains_key(**name)) {
            return Err(unsupported(&format!("\"required\" with {name:?}, which is none of the properties")));
        }
        let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
            return match fields.get("additionalProperties") {
                None | Some(Value::Bool(true)) => self.table(None, depth),
                Some(Value::Bool(false)) => self.push(Node::Record(Vec::new())),
                Some(values) => self.table(Some(values), depth),
            };
        };
        let mut members = Vec::new();
        for (name, value) in properties {
            let value = self.node(value, depth + 1)?;
            let required = required.contains(&name.as_str());
            members.push(Member {
                name: Value::from(name.as_str()).to_string().into_bytes(),
                value,
                required,
            });
        }
        self.push(Node::Record(members))
    }

    fn table(&mut self, values: Option<&'s Value>, depth: usize) -> Result<Id> {
        let value = match values {
            Some(values) => self.node(values, depth + 1)?,
            None => self.anything()?,
        };
        self.push(Node::Table { value })
    }

    /// Any JSON at all.
    fn anything(&mut self) -> Result<Id> {
        if let Some(any) = self.any {
            return Ok(any);
        }
        let any = self.push(Node::Either(Vec::new()))?;
        self.any = Some(any);
        let words = ["null", "true", "false"].map(|word| word.as_bytes().to_vec()).to_vec();
        let free = Node::Decimal { least: f64::NEG_INFINITY, most: f64::INFINITY, open: (false, false) };
        let either = vec![
            self.push(Node::Text { least: 0, most: usize::MAX })?,
            self.push(Node::Table { value: any })?,
            self.push(Node::List { item: Some(any), least: 0, most: usize::MAX })?,
            self.push(free)?,
            self.push(Node::Words(words))?,
        ];
        self.set(any, Node::Either(either));
        Ok(any)
    }

    fn set(&mut self, id: Id, node: Node) {
        if let Some(place) = self.nodes.get_mut(id) {
            *place = node;
        }
    }

    fn reference(&mut self, path: &str, depth: usize) -> Result<Id> {
        if let Some(known) = self.known.get(path) {
            return Ok(*known);
        }
        let pointer = path.strip_prefix('#').ok_or_else(|| unsupported(&format!("\"$ref\" to {path:?}")))?;
        let target = self.root.and_then(|root| root.pointer(pointer));
        let target =
            target.ok_or_else(|| Error::invalid_input(format!("the output schema has no {path:?}")))?;
        // Known before it is compiled, for it may refer to itself.
        let place = self.push(Node::Either(Vec::new()))?;
        self.known.insert(path.to_owned(), place);
        let node = self.node(target, depth + 1)?;
        self.set(place, Node::Either(vec![node]));
        Ok(place)
    }

    fn words(&mut self, values: impl Iterator<Item = &'s Value>, kind: Option<&Value>) -> Result<Id> {
        let fits = |value: &&Value| kind.is_none_or(|kind| is_of(value, kind));
        let words: Vec<Vec<u8>> = values.filter(fits).map(|value| value.to_string().into_bytes()).collect();
        self.bounded(!words.is_empty(), Node::Words(words))
    }

    fn branches(&mut self, key: &str, value: &'s Value, depth: usize) -> Result<Id> {
        let Value::Array(branches) = value else { return Err(malformed(key, value)) };
        if key == "allOf" && branches.len() != 1 {
            return Err(unsupported("\"allOf\" of more than one"));
        }
        let mut either = Vec::new();
        for branch in branches {
            either.push(self.node(branch, depth + 1)?);
        }
        if key == "oneOf" && !self.exclusive(&either) {
            return Err(unsupported("\"oneOf\" whose branches one value may satisfy together"));
        }
        self.bounded(!either.is_empty(), Node::Either(either))
    }

    /// Whether no value can be of two of these nodes.
    fn exclusive(&self, ids: &[Id]) -> bool {
        let mut steps = MAX_COMPARED;
        let mut differ = |a: &Id, b: &Id| self.differ(*a, *b, (MAX_DEPTH, &mut steps));
        ids.iter().enumerate().all(|(at, a)| ids.iter().skip(at + 1).all(|b| differ(a, b)))
    }

    /// Whether the nodes certainly have no value in common; when in doubt, or out of steps, they may have one.
    fn differ(&self, a: Id, b: Id, (depth, steps): (usize, &mut usize)) -> bool {
        let (Some(depth), Some(left)) = (depth.checked_sub(1), steps.checked_sub(1)) else { return false };
        *steps = left;
        match (self.nodes.get(a), self.nodes.get(b)) {
            (Some(Node::Either(ids)), _) => {
                !ids.is_empty() && ids.iter().all(|id| self.differ(*id, b, (depth, &mut *steps)))
            }
            (_, Some(Node::Either(ids))) => {
                !ids.is_empty() && ids.iter().all(|id| self.differ(a, *id, (depth, &mut *steps)))
            }
            (Some(Node::Words(a)), Some(Node::Words(b))) => a.iter().all(|word| !b.contains(word)),
            (Some(Node::Record(a)), Some(Node::Record(b))) => a.iter().any(|a| {
                let same = b.iter().find(|b| a.required && b.required && b.name == a.name);
                same.is_some_and(|b| self.differ(a.value, b.value, (depth, &mut *steps)))
            }),
            (Some(a), Some(b)) => first_bytes(a).iter().all(|byte| !first_bytes(b).contains(byte)),
            _ => false,
        }
    }
}

/// What a value of the node may begin with.
fn first_bytes(node: &Node) -> Vec<u8> {
    match node {
        Node::Words(words) => words.iter().filter_map(|word| word.first().copied()).collect(),
        Node::Text { .. } => vec![b'"'],
        Node::Whole { .. } | Node::Decimal { .. } => b"-0123456789".to_vec(),
        Node::List { .. } => vec![b'['],
        Node::Record(_) | Node::Table { .. } => vec![b'{'],
        Node::Either(_) => Vec::new(),
    }
}

/// Whether a keyword says something of values of a type.
fn belongs(key: &str, kind: &str) -> bool {
    let own: &[&str] = match kind {
        "string" => &["minLength", "maxLength"],
        "integer" | "number" => &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
        "array" => &["items", "minItems", "maxItems"],
        "object" => &["properties", "required", "additionalProperties"],
        _ => &[],
    };
    key == "type" || own.contains(&key)
}

fn only(keys: &[&str], allowed: &[&str]) -> Result<()> {
    match keys.iter().find(|key| !allowed.contains(key)) {
        Some(key) => Err(unsupported(&format!("{key:?} beside {}", allowed.join(" and ")))),
        None => Ok(()),
    }
}

fn is_of(value: &Value, kind: &Value) -> bool {
    let of = |kind: &str| match value {
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "array",
        Value::Object(_) => kind == "object",
        Value::Number(_) => kind == "number" || (kind == "integer" && whole(value).is_some()),
    };
    match kind {
        Value::String(kind) => of(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(of),
        _ => false,
    }
}

fn whole(value: &Value) -> Option<i64> {
    let whole = |number: f64| number.fract() == 0.0 && number.abs() < 9.0e18;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within range")]
    value.as_i64().or_else(|| value.as_f64().filter(|number| whole(*number)).map(|number| number as i64))
}

fn whole_bounds(fields: &Map<String, Value>) -> Result<(i64, i64)> {
    let (low, high, (above, below)) = bounds(fields)?;
    #[expect(clippy::cast_possible_truncation, reason = "conversion saturates, and the range is cut below")]
    let (mut least, mut most) = (low.ceil() as i64, high.floor() as i64);
    #[expect(clippy::cast_precision_loss, reason = "compared with where it came from")]
    {
        least = least.saturating_add(i64::from(above && least as f64 <= low));
        most = most.saturating_sub(i64::from(below && most as f64 >= high));
    }
    Ok((least.max(-MAX_WHOLE), most.min(MAX_WHOLE)))
}

/// Least and most, and whether each is itself excluded.
fn bounds(fields: &Map<String, Value>) -> Result<(f64, f64, (bool, bool))> {
    let bound = |key: &str| match fields.get(key) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| malformed(key, value)),
    };
    let (at_least, above) = (bound("minimum")?, bound("exclusiveMinimum")?);
    let (at_most, below) = (bound("maximum")?, bound("exclusiveMaximum")?);
    let (infinite, least) = (f64::INFINITY, at_least.unwrap_or(f64::NEG_INFINITY));
    let most = at_most.unwrap_or(infinite);
    let open = (above.is_some_and(|above| above >= least), below.is_some_and(|below| below <= most));
    Ok((least.max(above.unwrap_or(-infinite)), most.min(below.unwrap_or(infinite)), open))
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

fn malformed(key: &str, value: &Value) -> Error {
    Error::invalid_input(format!("the output schema has {key:?} with {}", shown(value)))
}

fn nothing(what: &str) -> Error {
    Error::invalid_input(format!("no value can satisfy the output schema: {what}"))
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the local model cannot keep to an output schema with {what}"))
}
