//! The bulkhead: what runs, what waits, what is turned away.

use agentkit_core::resilience::{Bulkhead, BulkheadOptions};
use agentkit_core::testing::ScriptedTurn;
use agentkit_core::{ChatModel, ErrorKind, RunContext};

use super::{FlakyEmbedder, answer, answer_under, cancel_after, embed, hanging, hello, s, scripted, timed};

#[tokio::test(start_paused = true)]
async fn a_call_beyond_the_bounds_is_overloaded_at_once() {
    let model = scripted([hanging(), hanging()]);
    let bulkhead = Bulkhead::new(model.clone(), BulkheadOptions::new(2));
    let ctx = RunContext::new();
    let _running =
        [bulkhead.stream(hello(), &ctx).await.unwrap(), bulkhead.stream(hello(), &ctx).await.unwrap()];
    let refused = bulkhead.stream(hello(), &ctx).await.unwrap_err();
    assert!(refused.is_overloaded() && refused.is_retryable(), "{refused:?}");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_get_their_turn_in_order_when_one_ends_or_is_dropped() {
    let model = scripted([hanging(), ScriptedTurn::text("one"), ScriptedTurn::text("two")]);
    let bulkhead = Bulkhead::new(model, BulkheadOptions::new(1).queue(2));
    let running = bulkhead.stream(hello(), &RunContext::new()).await.unwrap();
    let ends = async {
        tokio::time::sleep(s(3)).await;
        assert!(answer(&bulkhead).await.is_err(), "the queue has no third place");
        drop(running);
    };
    let waiting = timed(async { tokio::join!(answer(&bulkhead), answer(&bulkhead), ends) });
    let ((first, second, ()), waited) = waiting.await;
    assert_eq!((first, second, waited), (Ok("one".into()), Ok("two".into()), s(3)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_over_holds_no_slot() {
    let bulkhead = Bulkhead::new(
        scripted([ScriptedTurn::text("one"), ScriptedTurn::text("two")]),
        BulkheadOptions::new(1),
    );
    let mut held = bulkhead.stream(hello(), &RunContext::new()).await.unwrap();
    while held.next().await.is_some() {}
    assert_eq!(answer(&bulkhead).await, Ok("two".into()));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_run_or_after_the_longest_wait() {
    let bulkhead = Bulkhead::new(scripted([hanging()]), BulkheadOptions::new(1).queue(1).longest_wait(s(5)));
    let _running = bulkhead.stream(hello(), &RunContext::new()).await.unwrap();
    assert_eq!(timed(answer(&bulkhead)).await, (Err(ErrorKind::Overloaded), s(5)));
    let late = RunContext::new().with_timeout(s(1));
    assert_eq!(timed(answer_under(&bulkhead, &late)).await, (Err(ErrorKind::DeadlineExceeded), s(1)));
    let ctx = RunContext::new();
    let cancelled = async { tokio::join!(answer_under(&bulkhead, &ctx), cancel_after(&ctx, s(2))).0 };
    assert_eq!(timed(cancelled).await, (Err(ErrorKind::Cancelled), s(2)));
    // Whoever left has given the place back.
    assert_eq!(timed(answer(&bulkhead)).await.1, s(5));
}

#[tokio::test(start_paused = true)]
async fn embeddings_run_one_after_the_other() {
    let bulkhead = Bulkhead::new(FlakyEmbedder::new(0, s(1)), BulkheadOptions::new(1).queue(2));
    let calls =
        async { tokio::join!(embed(&bulkhead), embed(&bulkhead), embed(&bulkhead), embed(&bulkhead)) };
    let (results, took) = timed(calls).await;
    assert_eq!(results, (Ok(2), Ok(2), Ok(2), Err(ErrorKind::Overloaded)));
    assert_eq!(took, s(3));
}
