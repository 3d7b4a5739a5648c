//! The chat template of a model: how a conversation is written for it.
//!
//! Templates are programs in Jinja that come with the model's file, so they get no access to anything, a bound on
//! their steps, and what the templates of this family expect: `raise_exception`, `strftime_now` and Python's methods of
//! strings and lists.

use agentkit_core::{Error, ErrorKind, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind as Jinja};
use serde::Serialize;

use super::gguf::Gguf;

/// Steps a template may take; a conversation of a thousand messages takes some ten thousand.
const FUEL: u64 = 5_000_000;
const NAME: &str = "chat";

/// A compiled template.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
    start: String,
    end: String,
}

/// A message, as templates know it.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) role: &'static str,
    pub(super) content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<serde_json::Value>,
}

#[derive(Serialize)]
struct Scope<'a> {
    messages: &'a [Line],
    add_generation_prompt: bool,
    bos_token: &'a str,
    eos_token: &'a str,
}

impl Template {
    /// Compiles the template of a file.
    ///
    /// # Errors
    /// Unsupported, if it has none; corrupt, if it does not compile.
    pub(super) fn read(file: &Gguf) -> Result<Self> {
        if !file.has("tokenizer.chat_template") {
            let message = format!("{} brings no chat template, so it is no chat model", file.name());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let source = file.text("tokenizer.chat_template")?;
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let token = |key: &str| {
            let id = if file.has(key) { file.count(key)? } else { return Ok(String::new()) };
            Ok(tokens.get(id).map(|text| (*text).to_owned()).unwrap_or_default())
        };
        let (start, end) = (token("tokenizer.ggml.bos_token_id")?, token("tokenizer.ggml.eos_token_id")?);
        Self::new(source, start, end).map_err(|error| {
            Error::corrupt(format!("the chat template of {} does not compile", file.name()))
                .with_source(error)
        })
    }

    fn new(source: &str, start: String, end: String) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned(NAME, source.to_owned())?;
        Ok(Self { environment, start, end })
    }

    /// Writes a conversation, up to where the model goes on.
    ///
    /// # Errors
    /// Invalid input, if the template refuses the conversation.
    pub(super) fn render(&self, messages: &[Line]) -> Result<String> {
        let (start, end) = (&self.start, &self.end);
        let scope = Scope { messages, add_generation_prompt: true, bos_token: start, eos_token: end };
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(Serde(scope)));
        rendered.map_err(|error| {
            Error::invalid_input("the model's chat template does not take this conversation")
                .with_source(error)
        })
    }
}

/// What templates call to refuse a conversation.
fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(Jinja::InvalidOperation, message))
}

/// The time in UTC, in the form of the C library's function.
fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &now)
        .map_err(|error| minijinja::Error::new(Jinja::InvalidOperation, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(role: &'static str, content: &str) -> Line {
        Line { role, content: content.into(), tool_calls: Vec::new() }
    }

    fn render(source: &str, messages: &[Line]) -> Result<String> {
        Template::new(source, "<s>".into(), "</s>".into()).unwrap().render(messages)
    }

    #[test]
    fn blocks_leave_no_lines_and_strings_have_the_methods_of_python() {
        let source = "{{ bos_token }}\n{% for m in messages %}\n  {% if m['role'].startswith('u') %}\n{{ m.content.strip() }}|\n  {% endif %}\n{% endfor %}\n";
        let messages = [line("user", " a "), line("assistant", "b"), line("user", "c")];
        assert_eq!(render(source, &messages).unwrap(), "<s>\na|\nc|\n");
    }

    #[test]
    fn a_template_that_raises_refuses_the_conversation_with_its_words() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
        assert!(
            error.is_invalid_input() && error.chain().contains("roles must alternate"),
            "{}",
            error.chain()
        );
    }

    #[test]
    fn the_date_is_there_and_a_bad_format_is_an_error() {
        let date = render("{{ strftime_now('%d %b %Y') }}", &[]).unwrap();
        assert_eq!(date.split(' ').map(str::len).collect::<Vec<_>>(), [2, 3, 4], "{date}");
        assert!(render("{{ strftime_now('%') }}", &[]).unwrap_err().is_invalid_input());
    }

    #[test]
    fn a_template_that_does_not_end_is_stopped() {
        let source = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}";
        assert!(render(source, &[]).unwrap_err().chain().contains("fuel"));
    }
}
