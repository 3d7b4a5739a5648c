//! What the derived description leaves out: who may ask, and how strict the readers are.

use utoipa::Modify;
use utoipa::openapi::schema::{AdditionalProperties, Object, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ObjectBuilder, OpenApi, Ref, RefOr};

use crate::http::schema::ID;

/// The schemas whose variants and members are all there are.
const CLOSED: [&str; 5] = ["Filter", "SearchPlan", "Matching", "Expansion", "Fusion"];
/// Events as they stand in streams, and the events themselves.
const FRAMES: [(&str, &str); 2] = [("AgentEventFrame", "AgentEvent"), ("JobEventFrame", "JobEvent")];

/// A credential, unless a route says otherwise.
pub(super) struct Credential;

/// The schemas, as strict as the readers behind them.
pub(super) struct Strict;

impl Modify for Credential {
    fn modify(&self, openapi: &mut OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = scheme.description(Some("An API key, or a token of the identity provider.")).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("credential", SecurityScheme::Http(scheme));
        openapi.security = Some(vec![SecurityRequirement::new("credential", Vec::<String>::new())]);
    }
}

impl Modify for Strict {
    fn modify(&self, openapi: &mut OpenApi) {
        let schemas = &mut openapi.components.get_or_insert_default().schemas;
        for name in CLOSED {
            schemas.get_mut(name).into_iter().for_each(close);
        }
        for (frame, event) in FRAMES {
            let frame = schemas.get_mut(frame).and_then(object);
            let data = frame.and_then(|frame| frame.properties.get_mut("data")).and_then(object);
            if let Some(data) = data {
                holds(data, event);
            }
        }
        let mut change =
            |name, how: fn(&mut Object)| schemas.get_mut(name).and_then(object).into_iter().for_each(how);
        // The field's name, and at least one bound.
        change("Range", |range| range.min_properties = Some(2));
        change("Metadata", |metadata| {
            metadata.property_names =
                Some(Box::new(ObjectBuilder::new().schema_type(Type::String).pattern(Some(ID)).into()));
            metadata.max_properties = Some(64);
        });
    }
}

fn object(schema: &mut RefOr<Schema>) -> Option<&mut Object> {
    match schema {
        RefOr::T(Schema::Object(object)) => Some(object),
        _ => None,
    }
}

/// Says that a text is the JSON of something.
fn holds(text: &mut Object, name: &str) {
    text.content_media_type = "application/json".into();
    text.content_schema = Some(Box::new(Ref::from_schema_name(name).into()));
}

/// Says of every object within that it has no further members.
fn close(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::OneOf(choice)) => choice.items.iter_mut().for_each(close),
        RefOr::T(Schema::Object(object)) if !object.properties.is_empty() => {
            object.properties.values_mut().for_each(close);
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
        _ => {}
    }
}
