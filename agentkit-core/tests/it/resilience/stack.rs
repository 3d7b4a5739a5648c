//! Wrappers on one another, in the order that the documentation advises.

use std::sync::Arc;

use agentkit_core::resilience::{
    BreakerOptions, BulkheadOptions, CacheOptions, HedgeOptions, Rate, RateLimitOptions, RetryOptions, Stack,
    TimeoutOptions,
};
use agentkit_core::testing::{HashingEmbedder, ScriptedModel, ScriptedTurn, conformance};
use agentkit_core::{ChatModel, Embedder, ErrorKind, RunContext};

use super::{
    FlakyEmbedder, answer, answer_under, cancel_after, embed, hanging, ms, s, scripted, timed, unavailable,
};

fn whole(model: Arc<dyn ChatModel>, second: Arc<dyn ChatModel>) -> Arc<dyn ChatModel> {
    Stack::shared_model(model)
        .timeout(TimeoutOptions::default().first(s(5)).idle(s(5)))
        .bulkhead(BulkheadOptions::new(4).queue(4))
        .rate_limit(RateLimitOptions::default().requests(Rate::per_second(100)))
        .breaker(BreakerOptions::default().failures(3, 5).open_for(s(60)))
        .hedge(HedgeOptions::new(s(60)))
        .retry(RetryOptions::default().attempts(2).backoff(ms(100), s(1)).seed(1))
        .fallback([second])
        .cache(CacheOptions::default())
        .build()
}

#[tokio::test]
async fn the_whole_stack_conforms() {
    let model = || Arc::new(ScriptedModel::saying("hello to you all"));
    conformance::chat_model(&*whole(model(), model())).await;
    let embedder = Stack::embedder(HashingEmbedder::new())
        .timeout(TimeoutOptions::default().total(s(60)))
        .bulkhead(BulkheadOptions::new(4).queue(4))
        .rate_limit(RateLimitOptions::default().requests(Rate::per_second(1000)))
        .breaker(BreakerOptions::default())
        .hedge(HedgeOptions::new(s(60)))
        .retry(RetryOptions::default())
        .fallback([Arc::new(HashingEmbedder::new()) as Arc<dyn Embedder>])
        .unwrap()
        .build();
    conformance::embedder(&*embedder).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_provider_is_tried_then_left_alone_while_the_second_answers() {
    let dead = scripted((0..20).map(|_| hanging()));
    let spare = Arc::new(ScriptedModel::saying("spare"));
    let stack = Stack::shared_model(dead.clone())
        .timeout(TimeoutOptions::default().first(s(5)))
        .breaker(BreakerOptions::default().failures(3, 5).open_for(s(60)))
        .retry(RetryOptions::default().attempts(2).backoff(ms(100), s(1)).seed(1))
        .fallback([spare as Arc<dyn ChatModel>])
        .build();
    let (said, took) = timed(answer(&*stack)).await;
    assert_eq!(said, Ok("spare".into()));
    assert!(took >= s(10) && took < s(11), "two tries of five seconds, not {took:?}");
    assert_eq!(answer(&*stack).await, Ok("spare".into()));
    let tries = dead.requests().len();
    let (said, took) = timed(answer(&*stack)).await;
    assert_eq!((said, took, dead.requests().len()), (Ok("spare".into()), s(0), tries), "the circuit is open");
    assert_eq!((dead.open_streams(), tries), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_passing_fault_is_not_seen_outside() {
    let model = scripted([unavailable(), ScriptedTurn::text("well")]);
    let stack = whole(model, scripted([]));
    assert_eq!(answer(&*stack).await, Ok("well".into()));
    assert_eq!(answer(&*stack).await, Ok("well".into()), "the answer was not remembered");
}

#[tokio::test(start_paused = true)]
async fn cancelling_reaches_through_all_of_it() {
    let model = scripted([hanging()]);
    let stack = whole(model.clone(), scripted([]));
    let ctx = RunContext::new();
    let cancelled = async { tokio::join!(answer_under(&*stack, &ctx), cancel_after(&ctx, s(1))).0 };
    assert_eq!(timed(cancelled).await, (Err(ErrorKind::Cancelled), s(1)));
    assert_eq!((model.open_streams(), model.streams_dropped_early()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_embedder_in_a_stack_survives_a_fault() {
    let stack = Stack::shared_embedder(FlakyEmbedder::new(1, ms(10)))
        .timeout(TimeoutOptions::default().total(s(1)))
        .retry(RetryOptions::default().seed(1))
        .build();
    assert_eq!(embed(&*stack).await, Ok(2));
}
