//! Filters over metadata, with the one meaning every retriever must give them.

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize};

use super::metadata::{Metadata, Scalar, validate_name};
use crate::error::{Error, Result};

/// Deepest nesting of a filter.
const MAX_DEPTH: usize = 16;
/// Most conditions of a filter, values of `in` included.
const MAX_CONDITIONS: usize = 1024;

/// A condition on a document's metadata. [`Filter::matches`] is its reference meaning.
///
/// A field with several values meets a condition if any of them does; an absent field meets none.
/// Values of different types are never equal and have no order.
///
/// # Examples
/// ```
/// use agentkit_core::{Filter, Metadata};
///
/// let filter: Filter = serde_json::from_str(
///     r#"{"and": [{"eq": {"field": "lang", "value": "en"}}, {"not": {"exists": {"field": "draft"}}}]}"#,
/// ).unwrap();
/// assert!(filter.matches(&Metadata::new().with("lang", "en")));
/// assert!(!filter.matches(&Metadata::new().with("lang", "en").with("draft", true)));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Filter {
    /// The field equals the value.
    Eq {
        /// The field's name.
        field: String,
        /// The value.
        value: Scalar,
    },
    /// The field equals one of the values.
    In {
        /// The field's name.
        field: String,
        /// The values; none matches nothing.
        values: Vec<Scalar>,
    },
    /// The field lies between bounds of its own type.
    Range(Range),
    /// The field is a text that starts with this.
    Prefix {
        /// The field's name.
        field: String,
        /// The start of the text.
        value: String,
    },
    /// The field has at least one value.
    Exists {
        /// The field's name.
        field: String,
    },
    /// All conditions hold; none at all holds.
    And(Vec<Filter>),
    /// Any condition holds; none at all does not.
    Or(Vec<Filter>),
    /// The condition does not hold.
    Not(Box<Filter>),
}

/// Bounds on a field; those given must all hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The field's name.
    pub field: String,
    /// Greater than this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub gt: Option<Scalar>,
    /// Greater than or equal to this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub gte: Option<Scalar>,
    /// Less than this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub lt: Option<Scalar>,
    /// Less than or equal to this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub lte: Option<Scalar>,
}

impl Filter {
    /// The field equals the value.
    #[must_use]
    pub fn eq(field: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::Eq { field: field.into(), value: value.into() }
    }

    /// Whether a document with this metadata passes.
    #[must_use]
    pub fn matches(&self, metadata: &Metadata) -> bool {
        match self {
            Self::Eq { field, value } => metadata.values(field).contains(value),
            Self::In { field, values } => metadata.values(field).iter().any(|v| values.contains(v)),
            Self::Range(range) => metadata.values(&range.field).iter().any(|v| range.contains(v)),
            Self::Prefix { field, value } => metadata
                .values(field)
                .iter()
                .any(|v| matches!(v, Scalar::String(text) if text.starts_with(value.as_str()))),
            Self::Exists { field } => !metadata.values(field).is_empty(),
            Self::And(all) => all.iter().all(|filter| filter.matches(metadata)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(metadata)),
            Self::Not(filter) => !filter.matches(metadata),
        }
    }

    /// Checks size, depth, names and values.
    ///
    /// # Errors
    /// Invalid input, naming what breaks a limit.
    pub fn validate(&self) -> Result<()> {
        let mut conditions = 0;
        self.validate_at(0, &mut conditions)
    }

    fn validate_at(&self, depth: usize, conditions: &mut usize) -> Result<()> {
        *conditions += if let Self::In { values, .. } = self { values.len().max(1) } else { 1 };
        if depth > MAX_DEPTH || *conditions > MAX_CONDITIONS {
            return Err(Error::invalid_input(format!(
                "a filter may be nested {MAX_DEPTH} deep and hold {MAX_CONDITIONS} conditions at most"
            )));
        }
        match self {
            Self::Eq { field, value } => validate_name(field).and_then(|()| value.validate(field)),
            Self::In { field, values } => {
                validate_name(field)?;
                values.iter().try_for_each(|value| value.validate(field))
            }
            Self::Range(range) => range.validate(),
            Self::Prefix { field, .. } | Self::Exists { field } => validate_name(field),
            Self::And(filters) | Self::Or(filters) => {
                filters.iter().try_for_each(|filter| filter.validate_at(depth + 1, conditions))
            }
            Self::Not(filter) => filter.validate_at(depth + 1, conditions),
        }
    }
}

impl Range {
    /// Whether `value` lies within all bounds.
    #[must_use]
    pub fn contains(&self, value: &Scalar) -> bool {
        let holds = |bound: &Option<Scalar>, allowed: &[Ordering]| match bound {
            None => true,
            Some(bound) => value.compare(bound).is_some_and(|order| allowed.contains(&order)),
        };
        holds(&self.gt, &[Ordering::Greater])
            && holds(&self.gte, &[Ordering::Greater, Ordering::Equal])
            && holds(&self.lt, &[Ordering::Less])
            && holds(&self.lte, &[Ordering::Less, Ordering::Equal])
    }

    /// The bounds that are given.
    pub fn bounds(&self) -> impl Iterator<Item = &Scalar> {
        [&self.gt, &self.gte, &self.lt, &self.lte].into_iter().flatten()
    }

    fn validate(&self) -> Result<()> {
        validate_name(&self.field)?;
        if self.bounds().next().is_none() {
            return Err(Error::invalid_input(format!(
                "the range on field {:?} needs at least one of gt, gte, lt, lte",
                self.field
            )));
        }
        for bound in self.bounds() {
            bound.validate(&self.field)?;
            if matches!(bound, Scalar::Bool(_)) {
                return Err(Error::invalid_input(format!(
                    "the range on field {:?} needs numbers or texts, booleans have no order",
                    self.field
                )));
            }
        }
        Ok(())
    }
}

/// A bound that is written down is a value: one of null would silently be none.
fn given<'de, D: Deserializer<'de>>(reader: D) -> std::result::Result<Option<Scalar>, D::Error> {
    Scalar::deserialize(reader).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata::new().with("year", 2024).with("tags", vec!["a", "bc"]).with("ok", true)
    }

    fn matches(json: &str) -> bool {
        serde_json::from_str::<Filter>(json).expect(json).matches(&metadata())
    }

    #[test]
    fn conditions_mean_what_the_reference_says() {
        for (json, expected) in [
            (r#"{"eq":{"field":"year","value":2024}}"#, true),
            (r#"{"eq":{"field":"year","value":2024.0}}"#, true),
            (r#"{"eq":{"field":"year","value":"2024"}}"#, false),
            (r#"{"eq":{"field":"tags","value":"bc"}}"#, true),
            (r#"{"in":{"field":"tags","values":[]}}"#, false),
            (r#"{"in":{"field":"tags","values":["x","a"]}}"#, true),
            (r#"{"range":{"field":"year","gte":2024,"lt":2025}}"#, true),
            (r#"{"range":{"field":"year","gt":2024}}"#, false),
            (r#"{"range":{"field":"year","gt":"1"}}"#, false),
            (r#"{"range":{"field":"tags","gt":"b","lt":"c"}}"#, true),
            (r#"{"prefix":{"field":"tags","value":"b"}}"#, true),
            (r#"{"prefix":{"field":"year","value":"2"}}"#, false),
            (r#"{"exists":{"field":"ok"}}"#, true),
            (r#"{"not":{"exists":{"field":"none"}}}"#, true),
            (r#"{"and":[]}"#, true),
            (r#"{"or":[]}"#, false),
        ] {
            assert_eq!(matches(json), expected, "{json}");
        }
    }

    #[test]
    fn a_filter_that_is_too_deep_or_unbounded_is_refused() {
        let deep = (0..40).fold(Filter::eq("a", 1), |inner, _| Filter::Not(Box::new(inner)));
        assert!(deep.validate().unwrap_err().is_invalid_input());
        let empty_range = Filter::Range(Range { field: "a".into(), ..Range::default() });
        assert!(empty_range.validate().unwrap_err().is_invalid_input());
        assert!(Filter::eq("a", f64::NAN).validate().unwrap_err().is_invalid_input());
        for wrong in [r#"{"equals":{}}"#, r#"{"range":{"field":"a","gt":1,"lt":null}}"#] {
            assert!(serde_json::from_str::<Filter>(wrong).is_err(), "{wrong}");
        }
    }
}
