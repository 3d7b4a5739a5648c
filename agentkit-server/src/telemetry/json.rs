//! Log lines as JSON objects, each with the id of the trace it belongs to.

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::start::OURS;

/// Writes an event with the fields of the spans around it, the event's own first.
pub(super) struct JsonLine;

/// The fields of an event.
struct Fields(Map<String, Value>);

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Fields(Map::new());
        let metadata = event.metadata();
        let now = humantime::format_rfc3339_micros(SystemTime::now());
        line.add("timestamp", now.to_string().into());
        line.add("level", metadata.level().as_str().into());
        line.add("target", metadata.target().into());
        event.record(&mut line);
        for span in ctx.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            let fields: Option<Map<String, Value>> =
                fields.and_then(|fields| serde_json::from_str(&fields.fields).ok());
            for (name, value) in fields.into_iter().flatten() {
                line.add(&name, value);
            }
        }
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

impl Fields {
    /// Adds a field unless there is one of its name, or it is for exporters only.
    fn add(&mut self, name: &str, value: Value) {
        let name = name.strip_prefix(OURS).unwrap_or(name);
        if !name.starts_with("otel.") && !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format!("{value:?}").into());
    }
}
