//! The suite of the [`Reranker`] contract.

use super::{TOLERANCE, ends_when_cancelled, is_stopped, soon, stopped_contexts, succeeds};
use crate::context::RunContext;
use crate::rerank::Reranker;

const QUERY: &str = "how do I reset the router";

/// Holds `reranker` to its contract.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Cancel safe: nothing is kept.
pub async fn reranker(reranker: &dyn Reranker) {
    assert!(!reranker.name().is_empty(), "the reranker has no name");
    let passages = passages();
    let together = rerank(reranker, QUERY, &passages).await;
    let (asked, got) = (passages.len(), together.len());
    assert_eq!(asked, got, "{asked} passages got {got} scores");
    for (at, (passage, score)) in passages.iter().zip(&together).enumerate() {
        assert!(score.is_finite(), "the score of passage {at} is {score}");
        let alone = rerank(reranker, QUERY, std::slice::from_ref(passage)).await;
        let same = matches!(alone.as_slice(), [alone] if (alone - score).abs() <= TOLERANCE);
        assert!(same, "passage {at} scores {score} among others but {alone:?} alone");
    }
    assert!(rerank(reranker, QUERY, &[]).await.is_empty(), "no passages got scores");
    let blank = rerank(reranker, "", &passages).await;
    assert!(blank.iter().all(|score| score.is_finite()), "an empty query gave a score that is not finite");
    stopped_contexts_stop_it(reranker).await;
}

fn passages() -> Vec<String> {
    let mut passages =
        ["To reset the router, hold the button.", "Descale the kettle.", "", "nul \0", "東京 🙂"]
            .map(String::from)
            .to_vec();
    passages.push("a long passage about routers and kettles ".repeat(1000));
    passages
}

async fn stopped_contexts_stop_it(reranker: &dyn Reranker) {
    for (why, ctx) in stopped_contexts() {
        let what = format!("reranking under {why}");
        is_stopped(&what, soon(&what, reranker.rerank(QUERY, passages(), &ctx)).await);
    }
    let ctx = RunContext::new();
    ends_when_cancelled("reranking", &ctx, reranker.rerank(QUERY, passages(), &ctx)).await;
}

async fn rerank(reranker: &dyn Reranker, query: &str, passages: &[String]) -> Vec<f32> {
    let what = format!("reranking {} passages", passages.len());
    succeeds(&what, reranker.rerank(query, passages.to_vec(), &RunContext::new()).await)
}
