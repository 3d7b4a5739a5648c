//! `POST /v1/embeddings`: the vectors that the index is made of.

use agentkit_core::{EmbedSide, Embedder, Embedding};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::{unsupported, wrong};
use super::models::unknown;
use super::wire::{Components, EmbeddingRequest, EmbeddingUsage, Embeddings, Vector};
use crate::http::admit::Run;
use crate::http::body::Json;
use crate::http::problem::Problem;
use crate::http::state::{Ask, Permit};

/// Most texts of a request.
const MAX_TEXTS: usize = 2048;

/// Makes a vector of each text, with the model that the index uses.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "openai",
    request_body = EmbeddingRequest,
    responses(
        (status = 200, description = "The vectors", body = Embeddings),
        (status = "default", description = "A problem", body = super::wire::ErrorDocument),
    ),
)]
pub(in crate::http) async fn embeddings(
    permit: Permit<Ask>,
    run: Run,
    Json(request): Json<EmbeddingRequest>,
) -> Result<axum::Json<Embeddings>, Problem> {
    if request.model != permit.embedding_model() {
        return Err(unknown(&request.model));
    }
    let embedder = permit.embedder()?;
    let (encode, side) = (encoding(&request, embedder)?, side(&request)?);
    let texts = texts(request.input)?;
    let tokens = texts.iter().map(|text| embedder.count_tokens(text) as u64).sum();
    run.ctx.spend_tokens(tokens)?;
    let vectors = run.ctx.run(embedder.embed(side, texts, &run.ctx)).await?;
    let data = vectors.into_iter().enumerate().map(|(index, vector)| Vector {
        object: "embedding",
        index,
        embedding: encode(vector),
    });
    let usage = EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens };
    Ok(axum::Json(Embeddings { object: "list", data: data.collect(), model: request.model, usage }))
}

type Encode = fn(Embedding) -> Components;

/// How the vectors are to be written.
fn encoding(request: &EmbeddingRequest, embedder: &dyn Embedder) -> Result<Encode, Problem> {
    let own = embedder.identity().dimension;
    if request.dimensions.is_some_and(|asked| asked != own) {
        let detail = format!("the vectors of this model have {own} components; leave dimensions out");
        return Err(unsupported("dimensions", detail));
    }
    match request.encoding_format.as_deref() {
        None | Some("float") => Ok(|vector| Components::Float(vector.into_vec())),
        Some("base64") => Ok(|vector| in_base64(&vector)),
        Some(other) => {
            let detail = format!("there is no encoding {other:?}; use float or base64");
            Err(wrong("encoding_format", detail))
        }
    }
}

fn in_base64(vector: &Embedding) -> Components {
    let bytes: Vec<u8> = vector.as_slice().iter().flat_map(|component| component.to_le_bytes()).collect();
    Components::Base64(STANDARD.encode(bytes))
}

fn side(request: &EmbeddingRequest) -> Result<EmbedSide, Problem> {
    match request.input_type.as_deref() {
        None | Some("document") => Ok(EmbedSide::Document),
        Some("query") => Ok(EmbedSide::Query),
        Some(other) => {
            Err(wrong("input_type", format!("there is no input type {other:?}; use query or document")))
        }
    }
}

fn texts(input: Value) -> Result<Vec<String>, Problem> {
    let texts = match input {
        Value::String(text) => vec![text],
        Value::Array(items) => items.into_iter().map(text).collect::<Result<_, _>>()?,
        _ => return Err(wrong("input", "input must be a text or a list of texts")),
    };
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        let detail = format!("input must have 1 to {MAX_TEXTS} texts, got {}", texts.len());
        return Err(wrong("input", detail));
    }
    match texts.iter().position(String::is_empty) {
        Some(at) => Err(wrong("input", format!("text {at} of input is empty"))),
        None => Ok(texts),
    }
}

fn text(item: Value) -> Result<String, Problem> {
    match item {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Array(_) => {
            let detail = "input holds tokens, which mean nothing to this model; send the texts themselves";
            Err(unsupported("input", detail))
        }
        _ => Err(wrong("input", "input must be a text or a list of texts")),
    }
}
