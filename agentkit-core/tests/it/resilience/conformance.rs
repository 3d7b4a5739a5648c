//! Every wrapper holds to the contract it wraps.

use std::sync::Arc;

use agentkit_core::resilience::{
    BreakerOptions, Bulkhead, BulkheadOptions, CacheOptions, Cached, CircuitBreaker, Fallback,
    FallbackEmbedder, Hedge, HedgeOptions, Rate, RateLimit, RateLimitOptions, Retry, RetryOptions, Timeout,
    TimeoutOptions,
};
use agentkit_core::testing::{HashingEmbedder, ScriptedModel, conformance};
use agentkit_core::{ChatModel, Embedder, ModelInfo};

use super::{FlakyEmbedder, s};

fn timeouts() -> TimeoutOptions {
    TimeoutOptions::default().first(s(60)).idle(s(60)).total(s(600))
}

fn rates() -> RateLimitOptions {
    RateLimitOptions::default().requests(Rate::per_second(1_000_000)).tokens(Rate::per_second(u32::MAX))
}

fn models() -> Vec<Arc<dyn ChatModel>> {
    let inner = || Arc::new(ScriptedModel::saying("hello to you all"));
    let plain = ScriptedModel::saying("hello").described(ModelInfo::new("agentkit", "without tools", 100));
    vec![
        Arc::new(Timeout::new(inner(), timeouts())),
        Arc::new(Retry::new(inner(), RetryOptions::default())),
        Arc::new(CircuitBreaker::new(inner(), BreakerOptions::default())),
        Arc::new(Bulkhead::new(inner(), BulkheadOptions::new(2).queue(2))),
        Arc::new(RateLimit::new(inner(), rates())),
        Arc::new(Hedge::new(inner(), HedgeOptions::new(s(60)))),
        Arc::new(Fallback::new(inner(), [inner() as Arc<dyn ChatModel>])),
        Arc::new(Fallback::new(Arc::new(plain), [])),
        Arc::new(Cached::new(inner(), CacheOptions::default())),
        Arc::new(Cached::new(inner(), CacheOptions::default().capacity(0))),
    ]
}

#[tokio::test]
async fn wrapped_models_conform() {
    for model in models() {
        conformance::chat_model(&*model).await;
    }
}

/// Each wrapper around an embedder.
fn wrapped<E: Embedder + 'static>(inner: impl Fn() -> Arc<E>) -> [Arc<dyn Embedder>; 7] {
    [
        Arc::new(Timeout::new(inner(), timeouts())),
        Arc::new(Retry::new(inner(), RetryOptions::default())),
        Arc::new(CircuitBreaker::new(inner(), BreakerOptions::default())),
        Arc::new(Bulkhead::new(inner(), BulkheadOptions::new(2).queue(2))),
        Arc::new(RateLimit::new(inner(), rates())),
        Arc::new(Hedge::new(inner(), HedgeOptions::new(s(60)))),
        Arc::new(FallbackEmbedder::new(inner(), [inner() as Arc<dyn Embedder>]).unwrap()),
    ]
}

#[test]
fn wrapped_embedders_know_the_words_that_the_embedder_knows() {
    for embedder in wrapped(|| FlakyEmbedder::new(0, s(0))) {
        assert!((embedder.familiarity("tea") - 0.25).abs() < f32::EPSILON);
    }
}

#[tokio::test]
async fn wrapped_embedders_conform() {
    for embedder in wrapped(|| Arc::new(HashingEmbedder::new())) {
        conformance::embedder(&*embedder).await;
        assert_eq!(embedder.identity(), HashingEmbedder::new().identity());
        assert_eq!(embedder.count_tokens("two words"), 2);
    }
}

#[tokio::test]
async fn wrappers_describe_themselves_as_what_they_wrap() {
    for model in models() {
        assert_eq!(model.info().provider, "agentkit");
        assert!(["scripted", "without tools"].contains(&model.info().name.as_str()));
    }
}
