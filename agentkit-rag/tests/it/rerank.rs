//! The local rerankers on a tiny model, against what a plain implementation computes with it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails ends its test")]

use std::path::{Path, PathBuf};

use agentkit_core::testing::conformance;
use agentkit_core::{ErrorKind, Reranker, RunContext};
use agentkit_rag::embed::{BertEmbedder, CrossEncoder, LateInteraction};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    query: String,
    passage: String,
    score: f32,
    max_sim: f32,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cross-encoder")
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../data/cross-encoder/expected.json")).unwrap()
}

async fn score(reranker: &dyn Reranker, case: &Case) -> f32 {
    let scores = reranker.rerank(&case.query, vec![case.passage.clone()], &RunContext::new()).await.unwrap();
    scores[0]
}

#[tokio::test]
async fn the_cross_encoder_scores_as_the_reference_does() {
    let reranker = CrossEncoder::load(folder()).await.unwrap();
    assert_eq!(reranker.name(), "cross-encoder");
    for case in cases() {
        let (got, expected) = (score(&reranker, &case).await, case.score);
        assert!((got - expected).abs() < 1e-4, "{:?}: {got} instead of {expected}", case.query);
    }
}

#[tokio::test]
async fn late_interaction_scores_as_the_reference_does() {
    let reranker = LateInteraction::new(BertEmbedder::load(folder()).await.unwrap());
    for case in cases() {
        let (got, expected) = (score(&reranker, &case).await, case.max_sim);
        assert!((got - expected).abs() < 1e-4, "{:?}: {got} instead of {expected}", case.query);
    }
}

#[tokio::test]
async fn both_keep_the_contract_of_rerankers() {
    conformance::reranker(&CrossEncoder::load(folder()).await.unwrap()).await;
    conformance::reranker(&LateInteraction::new(BertEmbedder::load(folder()).await.unwrap())).await;
}

#[tokio::test]
async fn a_folder_without_a_head_is_refused_by_name() {
    let missing = CrossEncoder::load(folder().join("absent")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let bare = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(folder().join(file), bare.path().join(file)).unwrap();
    }
    let error = CrossEncoder::load(bare.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("model.safetensors"), "{error}");
    std::fs::write(bare.path().join("model.safetensors"), b"{}").unwrap();
    assert_eq!(CrossEncoder::load(bare.path()).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
