//! The fields of one JSON record, read without building its tree.

use agentkit_core::{Error, Scalar};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::limits::Budget;
use super::records::Field;

/// The fields found so far, and where the parser is.
pub(super) struct Fields<'a> {
    budget: &'a Budget,
    pub(super) found: Vec<Field>,
    /// Why reading ended early.
    pub(super) failure: Option<Error>,
    path: String,
    bytes: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(budget: &'a Budget) -> Self {
        Self { budget, found: Vec::new(), failure: None, path: String::new(), bytes: 0 }
    }

    /// Adds a value at the present path; further values of a list follow the first one in the same field.
    fn add<E: serde::de::Error>(
        &mut self,
        text: &str,
        scalar: Option<Scalar>,
        listed: bool,
    ) -> Result<(), E> {
        self.bytes += text.len() + 2;
        match self.found.last_mut() {
            Some(field) if listed && field.name == self.path => {
                field.text.push_str(", ");
                field.text.push_str(text);
                field.scalar = None;
            }
            _ => {
                self.bytes += self.path.len();
                self.found.push(Field { name: self.path.clone(), text: text.to_owned(), scalar });
            }
        }
        self.budget.check_text(self.bytes).map_err(|error| {
            self.failure = Some(error);
            E::custom("too much text")
        })
    }
}

/// Reads a value into the fields.
pub(super) struct RecordSeed<'f, 'a>(pub(super) &'f mut Fields<'a>);

impl<'de> DeserializeSeed<'de> for RecordSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, values: D) -> Result<(), D::Error> {
        values.deserialize_any(Value { fields: self.0, listed: false })
    }
}

/// A value at the present path.
struct Value<'f, 'a> {
    fields: &'f mut Fields<'a>,
    /// Whether it is in a list.
    listed: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, values: D) -> Result<(), D::Error> {
        values.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.fields.add(if value { "true" } else { "false" }, Some(Scalar::Bool(value)), self.listed)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        let text = value.to_string();
        self.fields.add(&text, text.parse().ok().map(Scalar::Number), self.listed)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let text = value.to_string();
        self.fields.add(&text, text.parse().ok().map(Scalar::Number), self.listed)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.fields.add(&value.to_string(), Some(Scalar::Number(value)), self.listed)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        // A NUL is no character of a text.
        let value = value.replace('\0', " ");
        let scalar = Scalar::String(value.clone());
        self.fields.add(value.trim(), Some(scalar), self.listed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Value { fields: self.fields, listed: true })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let length = self.fields.path.len();
        while let Some(Name(name)) = map.next_key()? {
            if length > 0 {
                self.fields.path.push('.');
            }
            self.fields.path.push_str(&name);
            map.next_value_seed(Value { fields: self.fields, listed: false })?;
            self.fields.path.truncate(length);
        }
        Ok(())
    }
}

/// The name of a field, on one line.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(names: D) -> Result<Self, D::Error> {
        let name = String::deserialize(names)?;
        Ok(Self(name.split(|c: char| c.is_whitespace() || c.is_control()).collect::<Vec<_>>().join(" ")))
    }
}
