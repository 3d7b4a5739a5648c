//! The suite of the [`Embedder`] contract.

use super::{TOLERANCE, ends_when_cancelled, is_stopped, soon, stopped_contexts, succeeds};
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder};

/// How far a norm may be from 1.
const NORM_TOLERANCE: f32 = 1e-3;

/// Holds `embedder` to its contract.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Cancel safe: nothing is kept.
pub async fn embedder(embedder: &dyn Embedder) {
    identity_is_constant(embedder);
    tokens_grow_with_the_text(embedder);
    familiarity_is_a_share(embedder);
    for side in [EmbedSide::Query, EmbedSide::Document] {
        vectors_are_sound_and_independent_of_the_batch(embedder, side).await;
        let none = embed(embedder, side, &[]).await;
        assert!(none.is_empty(), "no texts gave {} embeddings instead of none", none.len());
    }
    stopped_contexts_stop_it(embedder).await;
}

/// Short, long, empty and odd texts; the first two say the same.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> =
        ["How do I reset the router?", "How do I reset the router?", "", " ", "?!", "nul \0 inside"]
            .map(String::from)
            .to_vec();
    texts.push("Größe, 東京, 🙂 e\u{301}".into());
    texts.push("a long text about kettles and their descaling ".repeat(2000));
    texts.push("unbroken".repeat(5000));
    texts
}

fn identity_is_constant(embedder: &dyn Embedder) {
    let identity = embedder.identity();
    assert!(!identity.name.is_empty(), "the identity has no name");
    assert!(identity.dimension > 0, "the identity's dimension is 0");
    assert!(identity.max_tokens > 0, "the identity's max_tokens is 0");
    assert_eq!(identity, embedder.identity(), "the identity changed between two calls");
}

fn familiarity_is_a_share(embedder: &dyn Embedder) {
    for text in texts() {
        let share = embedder.familiarity(&text);
        let start: String = text.chars().take(20).collect();
        assert!((0.0..=1.0).contains(&share), "the familiarity of {start:?}… is {share}");
    }
}

fn tokens_grow_with_the_text(embedder: &dyn Embedder) {
    let text = "One kettle, two kettles; größer als 東京 🙂 and (more)…";
    let counts: Vec<usize> = text
        .match_indices(' ')
        .map(|(at, _)| at)
        .chain([text.len()])
        .map(|end| embedder.count_tokens(text.get(..end).unwrap_or(text)))
        .collect();
    let mut most = 0;
    for count in counts {
        assert!(count >= most, "a longer text counts {count} tokens, its prefix {most}");
        most = most.max(count);
    }
    assert!(most > 0, "a text with words counts no token");
}

async fn vectors_are_sound_and_independent_of_the_batch(embedder: &dyn Embedder, side: EmbedSide) {
    let texts = texts();
    let together = embed(embedder, side, &texts).await;
    assert_eq!(together.len(), texts.len(), "{} texts gave {} embeddings", texts.len(), together.len());
    for (text, vector) in texts.iter().zip(&together) {
        is_sound(embedder, text, vector);
        let alone = embed(embedder, side, std::slice::from_ref(text)).await;
        assert_eq!(alone.len(), 1, "one text gave {} embeddings", alone.len());
        let apart = alone.iter().flatten().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let text = start(text);
        assert!(
            apart <= TOLERANCE,
            "the embedding of {text:?} in a batch differs by {apart} from the one alone"
        );
    }
    let reversed: Vec<String> = texts.iter().rev().cloned().collect();
    let reversed = embed(embedder, side, &reversed).await;
    for (at, (a, b)) in together.iter().zip(reversed.iter().rev()).enumerate() {
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= TOLERANCE, "embedding {at} is not in the order of the texts, or depends on it");
    }
}

fn is_sound(embedder: &dyn Embedder, text: &str, vector: &[f32]) {
    let (identity, text) = (embedder.identity(), start(text));
    let dimension = vector.len();
    assert_eq!(dimension, identity.dimension, "the embedding of {text:?} has {dimension} components");
    assert!(
        vector.iter().all(|c| c.is_finite()),
        "the embedding of {text:?} has a component that is not finite"
    );
    if identity.normalized {
        let norm = vector.iter().map(|c| c * c).sum::<f32>().sqrt();
        assert!(
            (norm - 1.0).abs() <= NORM_TOLERANCE,
            "the embedding of {text:?} has norm {norm} instead of 1"
        );
    }
}

async fn stopped_contexts_stop_it(embedder: &dyn Embedder) {
    for (why, ctx) in stopped_contexts() {
        let what = format!("embedding under {why}");
        is_stopped(&what, soon(&what, embedder.embed(EmbedSide::Query, texts(), &ctx)).await);
    }
    let ctx = RunContext::new();
    ends_when_cancelled("embedding", &ctx, embedder.embed(EmbedSide::Document, texts(), &ctx)).await;
}

async fn embed(embedder: &dyn Embedder, side: EmbedSide, texts: &[String]) -> Vec<Vec<f32>> {
    let what = format!("embedding {} texts", texts.len());
    // Real models need their time for the long texts, so there is no patience to run out of here.
    let vectors = embedder.embed(side, texts.to_vec(), &RunContext::new()).await;
    succeeds(&what, vectors).into_iter().map(crate::embed::Embedding::into_vec).collect()
}

/// The start of a text, to name it by.
fn start(text: &str) -> String {
    text.chars().take(30).collect()
}
