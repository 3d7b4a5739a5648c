//! Embedding requests and responses, and how many tokens a text has without a tokenizer at hand.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::embed::Embedding;
use crate::error::{Error, ErrorKind, Result};
use crate::model::openai::options::OpenAiEmbedderOptions;

#[derive(Deserialize)]
struct Response {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// The body of `POST /embeddings`.
#[must_use]
pub fn embeddings_body(options: &OpenAiEmbedderOptions, texts: &[String]) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(options.model));
    body.insert("input".into(), json!(texts));
    body.insert("encoding_format".into(), json!("float"));
    if options.request_dimension {
        body.insert("dimensions".into(), json!(options.dimension));
    }
    Value::Object(body)
}

/// The embeddings in a response to a request of `count` texts, in their order and of norm 1.
///
/// # Errors
/// Mismatch, if a vector has another dimension; unavailable, if the response is not in this format, has another
/// number of vectors, or one that has no direction.
pub fn parse_embeddings(body: &[u8], count: usize, dimension: usize) -> Result<Vec<Embedding>> {
    let response: Response = serde_json::from_slice(body)
        .map_err(|error| unavailable("the server's answer holds no embeddings").with_source(error))?;
    let mut vectors = vec![None; count];
    for (at, item) in response.data.into_iter().enumerate() {
        match vectors.get_mut(item.index.unwrap_or(at)) {
            Some(slot @ None) => *slot = Some(item.embedding),
            _ => return Err(unavailable("the server's embeddings do not belong to the texts it was sent")),
        }
    }
    let missing = || unavailable("the server sent fewer embeddings than texts");
    vectors.iter().map(|vector| normalised(vector.as_ref().ok_or_else(missing)?, dimension)).collect()
}

fn normalised(vector: &[f32], dimension: usize) -> Result<Embedding> {
    if vector.len() != dimension {
        let got = vector.len();
        let message = format!("the server's vectors have {got} components, but {dimension} are configured");
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    let norm = vector.iter().map(|c| f64::from(*c).powi(2)).sum::<f64>().sqrt();
    if !(norm.is_finite() && norm > 0.0) {
        return Err(unavailable("the server sent a vector without direction"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "a component of a unit vector fits")]
    let scale = |c: &f32| (f64::from(*c) / norm) as f32;
    Embedding::new(vector.iter().map(scale).collect())
}

fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

/// About how many tokens `text` has, rather too many than too few.
///
/// Four ASCII letters or digits of a word count as one token, any other ASCII character as one, except single
/// spaces; other characters count by their length in UTF-8. Byte-level tokenizers find fewer in ordinary prose.
#[must_use]
pub fn estimate_tokens(text: &str) -> usize {
    let mut estimate = Estimate::default();
    text.chars().for_each(|c| estimate.add(c));
    estimate.tokens
}

/// The longest start of `text` that has at most `max_tokens` by [`estimate_tokens`].
///
/// # Examples
/// ```
/// use agentkit_core::model::openai::codec::truncate;
/// assert_eq!(truncate("green tea wants", 2), "green");
/// assert_eq!(truncate("green", 100), "green");
/// ```
#[must_use]
pub fn truncate(text: &str, max_tokens: usize) -> &str {
    let mut estimate = Estimate::default();
    let end = text.char_indices().find_map(|(at, c)| {
        estimate.add(c);
        (estimate.tokens > max_tokens).then_some(at)
    });
    text.get(..end.unwrap_or(text.len())).unwrap_or(text).trim_end()
}

#[derive(Default)]
struct Estimate {
    tokens: usize,
    word: usize,
    spaces: usize,
}

impl Estimate {
    fn add(&mut self, c: char) {
        self.spaces = if c == ' ' { self.spaces + 1 } else { 0 };
        self.word = if c.is_ascii_alphanumeric() { self.word + 1 } else { 0 };
        self.tokens += match c {
            ' ' => usize::from(self.spaces > 1),
            _ if c.is_ascii_alphanumeric() => usize::from(self.word % 4 == 1),
            _ if c.is_ascii() => 1,
            _ => c.len_utf8() - 1,
        };
    }
}
