//! The local embedder on the real default model: golden values, odd texts, cancellation.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agentkit_core::{EmbedSide, Embedder, ErrorKind, RunContext};
use agentkit_rag::embed::{BertEmbedder, BertOptions, Precision};
use agentkit_rag::models::{ModelSpec, ModelStore, NoProgress};
use serde::Deserialize;
use tokenizers::Tokenizer;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    embedding: Vec<f32>,
}

fn golden() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("../data/minilm-golden.json")).unwrap();
    golden.cases
}

async fn folder() -> PathBuf {
    let store = ModelStore::from_env().unwrap();
    let fetched = store.fetch(&ModelSpec::minilm(), &NoProgress, &RunContext::new()).await;
    fetched.unwrap_or_else(|error| panic!("this test needs the default model: {}", error.chain()))
}

async fn embedder() -> BertEmbedder {
    BertEmbedder::load(folder().await).await.unwrap()
}

async fn int8() -> BertEmbedder {
    let options = BertOptions::default().precision(Precision::Int8);
    BertEmbedder::load_with(folder().await, options).await.unwrap()
}

async fn vectors(embedder: &BertEmbedder, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    let embeddings = embedder.embed(EmbedSide::Document, texts, &RunContext::new()).await.unwrap();
    embeddings.into_iter().map(agentkit_core::Embedding::into_vec).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[tokio::test]
async fn every_golden_text_has_its_reference_vector_alone_and_in_any_batch() {
    let embedder = embedder().await;
    let cases = golden();
    let long = "a long passage about nothing in particular, ".repeat(100);
    let mut mixed: Vec<&str> = Vec::new();
    for case in &cases {
        let alone = vectors(&embedder, &[&case.text]).await;
        let worst = distance(&alone[0], &case.embedding);
        assert!(worst < 1e-4, "{worst} for {:?}", case.text);
        mixed.extend([long.as_str(), case.text.as_str(), "short"]);
    }
    let batch = vectors(&embedder, &mixed).await;
    assert_eq!(batch.len(), mixed.len());
    for (case, found) in cases.iter().zip(batch.iter().skip(1).step_by(3)) {
        assert!(distance(found, &case.embedding) < 1e-4, "in a batch: {:?}", case.text);
    }
}

#[tokio::test]
async fn in_int8_every_golden_text_points_where_its_reference_does_and_the_batch_does_not_matter() {
    let embedder = int8().await;
    let cases = golden();
    let long = "a long passage about nothing in particular, ".repeat(100);
    let mut mixed: Vec<&str> = Vec::new();
    let mut alone = Vec::new();
    for case in &cases {
        let vector = vectors(&embedder, &[&case.text]).await.remove(0);
        let cosine: f32 = vector.iter().zip(&case.embedding).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.985, "{cosine} for {:?}", case.text);
        alone.push(vector);
        mixed.extend([long.as_str(), case.text.as_str(), "short"]);
    }
    let batch = vectors(&embedder, &mixed).await;
    for (alone, found) in alone.iter().zip(batch.iter().skip(1).step_by(3)) {
        assert!(distance(alone, found) < 1e-6);
    }
}

#[tokio::test]
async fn int8_is_another_space_than_single_precision() {
    let single = embedder().await;
    let bytes = int8().await;
    assert_eq!(bytes.identity().name, "sentence-transformers/all-MiniLM-L6-v2 int8");
    assert_ne!(bytes.identity().revision, single.identity().revision);
    assert_eq!(bytes.identity().dimension, single.identity().dimension);
}

#[tokio::test]
async fn the_identity_says_what_the_folder_says() {
    let (first, second) = (embedder().await, embedder().await);
    let identity = first.identity();
    assert_eq!(identity.name, "sentence-transformers/all-MiniLM-L6-v2");
    assert_eq!((identity.dimension, identity.max_tokens), (384, 256));
    assert_eq!((identity.pooling.as_str(), identity.normalized), ("mean", true));
    assert_eq!(identity.revision.len(), 64);
    assert_eq!(identity, second.identity());
}

#[tokio::test]
async fn any_text_has_a_vector_of_norm_one() {
    let embedder = embedder().await;
    let huge = "many words ".repeat(100_000);
    let run = "x".repeat(300_000);
    let han = "漢字".repeat(50_000);
    let odd = ["", " \n\t", "\0\0", "\u{feff}e\u{301}🙂", "[CLS] [SEP]", &huge, &run, &han];
    let found = vectors(&embedder, &odd).await;
    assert_eq!(found.len(), odd.len());
    for (vector, text) in found.iter().zip(odd) {
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-3, "{:?}", text.chars().take(9).collect::<String>());
    }
    assert!(distance(&found[0], &found[1]) < 1e-6, "white space is no token");
    let cut = "many words ".repeat(200);
    assert!(distance(&vectors(&embedder, &[&cut]).await[0], &found[5]) < 1e-6, "only 256 tokens count");
    assert!(vectors(&embedder, &[]).await.is_empty());
}

#[tokio::test]
async fn many_texts_come_back_in_order_whatever_their_length() {
    let embedder = embedder().await;
    let texts: Vec<String> = (0..60).map(|n| format!("number {n} ").repeat(1 + n * 7 % 40)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = vectors(&embedder, &texts).await;
    for (at, text) in texts.iter().enumerate().step_by(7) {
        assert!(distance(&vectors(&embedder, &[text]).await[0], &together[at]) < 1e-5, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_queries_each_get_their_own_vector() {
    let embedder = embedder().await;
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let embedder = embedder.clone();
            tokio::spawn(async move { vectors(&embedder, &[&format!("question number {n}")]).await })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let joined = task.await.unwrap();
        let alone = vectors(&embedder, &[&format!("question number {n}")]).await;
        assert!(distance(&joined[0], &alone[0]) < 1e-5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_from_another_thread_ends_a_large_batch_promptly() {
    let embedder = embedder().await;
    let ctx = RunContext::new();
    let texts: Vec<String> = (0..500).map(|n| format!("passage {n} ").repeat(80)).collect();
    let work = {
        let (embedder, ctx) = (embedder.clone(), ctx.clone());
        tokio::spawn(async move { embedder.embed(EmbedSide::Document, texts, &ctx).await })
    };
    // A query in between shows that the batch is under way and does not block it.
    vectors(&embedder, &["a query meanwhile"]).await;
    let cancelled = Instant::now();
    std::thread::spawn(move || ctx.cancel());
    let error = work.await.unwrap().unwrap_err();
    assert!(error.is_stopped());
    assert!(cancelled.elapsed() < Duration::from_secs(5));
    assert_eq!(vectors(&embedder, &["still alive"]).await.len(), 1);
}

#[tokio::test]
async fn cancelling_frees_the_core_between_two_layers() {
    let options = BertOptions::default().threads(std::num::NonZeroUsize::MIN);
    let embedder = BertEmbedder::load_with(folder().await, options).await.unwrap();
    let passage = "some words of a passage ".repeat(60);
    let time = |texts: Vec<String>, ctx: RunContext| {
        let embedder = embedder.clone();
        async move {
            let begun = Instant::now();
            let done = embedder.embed(EmbedSide::Document, texts, &ctx).await.is_ok();
            (begun.elapsed(), done)
        }
    };
    let mut alone = Vec::new();
    for _ in 0..3 {
        alone.push(time(vec![passage.clone()], RunContext::new()).await.0);
    }
    let (alone, mut waited) = (alone.into_iter().min().unwrap(), Vec::new());
    for round in 0..5 {
        let ctx = RunContext::new();
        let batch = tokio::spawn(time(vec![passage.clone(); 40], ctx.clone()));
        tokio::time::sleep(alone + alone * round / 5).await;
        ctx.cancel();
        let (after, done) = time(vec![passage.clone()], RunContext::new()).await;
        assert!(done && !batch.await.unwrap().1, "the batch was cancelled, the passage was not");
        waited.push(after.saturating_sub(alone));
    }
    println!("a passage takes {alone:?}; behind a cancelled batch it takes longer by {waited:?}");
    // A layer of a pass takes a third of the time of a passage; a whole pass twice, the batch forty times as long.
    assert!(waited.iter().min().unwrap() < &alone, "the batch went on: {waited:?}");
}

#[tokio::test]
async fn a_passed_deadline_stops_before_any_work() {
    let embedder = embedder().await;
    let ctx = RunContext::new().with_timeout(Duration::ZERO);
    let error = embedder.embed(EmbedSide::Query, vec!["late".into()], &ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn tokens_are_counted_without_special_ones_and_beyond_the_models_length() {
    let embedder = embedder().await;
    assert_eq!(embedder.count_tokens(""), 0);
    assert_eq!(embedder.count_tokens("what is the capital of france?"), 7);
    let mut tokenizer = Tokenizer::from_file(folder().await.join("tokenizer.json")).unwrap();
    tokenizer.with_padding(None).with_truncation(None).unwrap();
    let odd = [
        "a\u{a0}b\u{3000}c\u{2028}d",
        "x\0y \u{200b}z\u{feff}",
        "[SEP] [ MASK]",
        "e\u{301} ﬁ ß İ",
        "  \r\n\t",
    ];
    for text in golden().iter().map(|case| case.text.as_str()).chain(odd) {
        let expected = tokenizer.encode_fast(text, false).unwrap().len();
        assert_eq!(embedder.count_tokens(text), expected, "{text:?}");
    }
    let once = "unbelievable café, 東京 (x86_64) ";
    assert_eq!(embedder.count_tokens(&once.repeat(5_000)), 5_000 * embedder.count_tokens(once));
}

#[tokio::test]
async fn a_folder_with_a_missing_or_damaged_file_is_a_clear_error() {
    let source = folder().await;
    let copy = |without: &str| {
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            if name != without {
                fs::copy(source.join(name), folder.path().join(name)).unwrap();
            }
        }
        folder
    };
    for missing in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = copy(missing);
        let error = BertEmbedder::load(folder.path()).await.unwrap_err();
        assert!(error.is_not_found() && error.message().contains(missing), "{error:?}");
    }
    for damaged in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = copy("");
        let bytes = fs::read(source.join(damaged)).unwrap();
        fs::write(folder.path().join(damaged), &bytes[..bytes.len() / 2]).unwrap();
        let error = BertEmbedder::load(folder.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(damaged), "{error:?}");
    }
    assert!(BertEmbedder::load(source.join("absent")).await.unwrap_err().is_not_found());
}
