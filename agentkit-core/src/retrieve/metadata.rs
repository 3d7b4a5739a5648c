//! Metadata of documents: flat fields of scalars or lists of scalars.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Most fields a document may have.
const MAX_FIELDS: usize = 64;
/// Longest field name in bytes.
pub(super) const MAX_NAME_BYTES: usize = 128;
/// Longest string value in bytes.
const MAX_STRING_BYTES: usize = 4096;
/// Most values of a list.
const MAX_LIST: usize = 256;

/// A document's fields by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, MetadataValue>);

/// A field's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetadataValue {
    /// One value.
    One(Scalar),
    /// Several values; a condition holds for the field if it holds for any of them.
    Many(Vec<Scalar>),
}

/// A single value. Numbers are IEEE 754 doubles, as in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// Text.
    String(String),
}

impl Metadata {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Adds or replaces a field in place.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<MetadataValue>) {
        self.0.insert(name.into(), value.into());
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values of a field; none if it is absent.
    #[must_use]
    pub fn values(&self, name: &str) -> &[Scalar] {
        match self.0.get(name) {
            None => &[],
            Some(MetadataValue::One(value)) => std::slice::from_ref(value),
            Some(MetadataValue::Many(values)) => values,
        }
    }

    /// Every field with each of its values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Scalar])> {
        self.0.keys().map(|name| (name.as_str(), self.values(name)))
    }

    /// Checks the limits on fields and values.
    ///
    /// # Errors
    /// Invalid input, naming the field and the limit it breaks.
    pub fn validate(&self) -> Result<()> {
        if self.0.len() > MAX_FIELDS {
            return Err(Error::invalid_input(format!(
                "metadata has {} fields, at most {MAX_FIELDS} are allowed",
                self.0.len()
            )));
        }
        for (name, values) in self.iter() {
            validate_name(name)?;
            if values.len() > MAX_LIST {
                return Err(Error::invalid_input(format!(
                    "metadata field {name:?} has {} values, at most {MAX_LIST} are allowed",
                    values.len()
                )));
            }
            for value in values {
                value.validate(name)?;
            }
        }
        Ok(())
    }
}

pub(super) fn validate_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Error::invalid_input(format!(
            "a metadata field name must be 1 to {MAX_NAME_BYTES} bytes without control characters: {name:?}"
        )));
    }
    Ok(())
}

impl Scalar {
    pub(super) fn validate(&self, field: &str) -> Result<()> {
        match self {
            Self::Number(number) if !number.is_finite() => {
                Err(Error::invalid_input(format!("field {field:?} holds a number that is not finite")))
            }
            Self::String(text) if text.len() > MAX_STRING_BYTES => Err(Error::invalid_input(format!(
                "field {field:?} holds a text of {} bytes, at most {MAX_STRING_BYTES} are allowed",
                text.len()
            ))),
            _ => Ok(()),
        }
    }

    /// Orders two values of the same type: numbers by size, texts by their bytes; different types and booleans have no order.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl<T: Into<Scalar>> From<T> for MetadataValue {
    fn from(value: T) -> Self {
        Self::One(value.into())
    }
}

impl<T: Into<Scalar>> From<Vec<T>> for MetadataValue {
    fn from(values: Vec<T>) -> Self {
        Self::Many(values.into_iter().map(Into::into).collect())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Self::Number(f64::from(value))
    }
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Scalar {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}
