//! Embeds passages of text files with the default model, as vectors for the benchmark `ann` and its peers.
//!
//! `cargo run --release -p benches --example vectors -- FOLDER FILE...` writes `base.f32` and `queries.f32` (at
//! most 1,000 of the passages, spread evenly and not in the base) to the folder: row-major, little-endian,
//! normalised. `.jsonl` and `.json` files give their long strings, all others their text.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a tool for the command line")]

use std::collections::HashSet;
use std::path::Path;

use agentkit_core::{EmbedSide, Embedder, RunContext};
use agentkit_rag::embed::BertEmbedder;
use serde_json::Value;

/// Words of a passage, unless its text ends before.
const WORDS: usize = 30;
/// Passages with fewer words say too little to be found.
const LEAST_WORDS: usize = 8;
/// Most passages taken.
const PASSAGES: usize = 36_000;
const QUERIES: usize = 1000;
const BATCH: usize = 512;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder to write to");
    let mut passages = Vec::new();
    let mut seen = HashSet::new();
    for file in arguments {
        for passage in texts(Path::new(&file)).iter().flat_map(|text| cut(text)) {
            if seen.insert(passage.clone()) {
                passages.push(passage);
            }
        }
    }
    let step = passages.len().div_ceil(PASSAGES).max(1);
    let passages: Vec<String> = passages.into_iter().step_by(step).collect();
    eprintln!("{} passages", passages.len());
    let vectors = embed(passages).await;
    let every = (vectors.len() / QUERIES).max(2);
    let is_query = |at: usize| at.is_multiple_of(every) && at / every < QUERIES;
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    write(&Path::new(&folder).join("base.f32"), &vectors, |at| !is_query(at));
    write(&Path::new(&folder).join("queries.f32"), &vectors, is_query);
}

async fn embed(passages: Vec<String>) -> Vec<Vec<f32>> {
    let embedder = BertEmbedder::minilm().await.expect("the model can be had");
    let mut vectors = Vec::with_capacity(passages.len());
    for batch in passages.chunks(BATCH) {
        let answer = embedder.embed(EmbedSide::Document, batch.to_vec(), &RunContext::new()).await;
        vectors
            .extend(answer.expect("embedding succeeds").into_iter().map(|vector| vector.as_slice().to_vec()));
        eprintln!("{} embedded", vectors.len());
    }
    vectors
}

fn write(path: &Path, vectors: &[Vec<f32>], wanted: impl Fn(usize) -> bool) {
    let rows = vectors.iter().enumerate().filter(|(at, _)| wanted(*at));
    let bytes: Vec<u8> =
        rows.flat_map(|(_, row)| row.iter().flat_map(|component| component.to_le_bytes())).collect();
    std::fs::write(path, bytes).expect("the file can be written");
}

fn texts(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).expect("the file can be read");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut found = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => {
            for line in text.lines() {
                strings(&serde_json::from_str(line).expect("json"), &mut found);
            }
        }
        Some("json") => strings(&serde_json::from_str(&text).expect("json"), &mut found),
        _ => found.push(text),
    }
    found
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

/// Cuts text into passages of about [`WORDS`] words, at the ends of paragraphs.
fn cut(text: &str) -> Vec<String> {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>());
    let passages = paragraphs.flat_map(|words| words.chunks(WORDS).map(<[&str]>::to_vec).collect::<Vec<_>>());
    passages.filter(|words| words.len() >= LEAST_WORDS).map(|words| words.join(" ")).collect()
}
