//! How large the schema of a tool is once every reference stands in its place.
//!
//! Checking a value against a schema takes as long as the expanded schema is large, and a few lines of references to
//! references expand to more than any machine checks. References back to where they stand are not followed: what they
//! cost depends on how deep the value is.

use serde_json::Value;

/// Ways of referring that the count does not follow.
const OTHER_REFERENCES: [&str; 2] = ["$dynamicRef", "$recursiveRef"];
/// Parts that count where they are referred to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Whether the schema expands to at most `most` parts, all of which can be counted.
pub(super) fn expands_within(schema: &Value, most: usize) -> bool {
    Expansion { root: schema, left: most, open: Vec::new() }.takes(schema)
}

struct Expansion<'s> {
    root: &'s Value,
    left: usize,
    /// The references that are being followed.
    open: Vec<&'s str>,
}

impl<'s> Expansion<'s> {
    fn takes(&mut self, part: &'s Value) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        match part {
            Value::Array(parts) => parts.iter().all(|part| self.takes(part)),
            Value::Object(fields) => fields.iter().all(|(name, value)| self.takes_field(name, value)),
            _ => true,
        }
    }

    fn takes_field(&mut self, name: &str, value: &'s Value) -> bool {
        match value {
            Value::String(reference) if name == "$ref" => self.follows(reference),
            Value::String(_) if OTHER_REFERENCES.contains(&name) => false,
            _ if DEFINITIONS.contains(&name) => true,
            _ => self.takes(value),
        }
    }

    fn follows(&mut self, reference: &'s str) -> bool {
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target else { return false };
        if self.open.contains(&reference) {
            return true;
        }
        self.open.push(reference);
        let fits = self.takes(target);
        self.open.pop();
        fits
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_count_wherever_they_stand() {
        let mut defs = serde_json::Map::new();
        for level in 0..60 {
            let next = format!("#/$defs/a{}", level + 1);
            defs.insert(format!("a{level}"), json!({"allOf": [{"$ref": next}, {"$ref": next}]}));
        }
        defs.insert("a60".into(), json!({"type": "object"}));
        assert!(!expands_within(&json!({"$ref": "#/$defs/a0", "$defs": defs}), 20_000));
        assert!(expands_within(&json!({"$ref": "#/$defs/a55", "$defs": defs}), 20_000));
    }

    #[test]
    fn what_refers_to_itself_is_counted_once() {
        let tree =
            json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
        assert!(expands_within(&tree, 100));
        assert!(!expands_within(&json!({"$ref": "other.json"}), 100));
        assert!(!expands_within(&json!({"$dynamicRef": "#node"}), 100));
    }
}
