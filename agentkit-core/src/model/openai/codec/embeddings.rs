//! Embedding requests and responses.

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
