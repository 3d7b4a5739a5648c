//! Rate limits of calls and tokens.

use std::time::Duration;

use agentkit_core::resilience::{Rate, RateLimit, RateLimitOptions};
use agentkit_core::testing::ScriptedModel;
use agentkit_core::{ChatModel, ErrorKind, RunContext};
use futures_util::future::join_all;
use std::sync::Arc;

use super::{FlakyEmbedder, answer, answer_under, cancel_after, embed, hello, ms, s, timed};

fn limited(options: RateLimitOptions) -> RateLimit<ScriptedModel> {
    RateLimit::new(Arc::new(ScriptedModel::saying("one two")), options)
}

fn two_a_second() -> RateLimitOptions {
    RateLimitOptions::default().requests(Rate::per_second(2).burst(3))
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_burst_wait_for_the_rate() {
    let limited = limited(two_a_second());
    let (ends, took) = timed(join_all((0..7).map(|_| timed(answer(&limited))))).await;
    let waits: Vec<_> = ends.into_iter().map(|(said, wait)| said.map(|_| wait).unwrap()).collect();
    assert_eq!(waits, [0, 0, 0, 500, 1000, 1500, 2000].map(ms));
    assert_eq!(took, s(2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_too_long_or_finds_the_queue_full_is_turned_away_at_once() {
    let limited = limited(two_a_second().longest_wait(s(1)));
    let ends = join_all((0..7).map(|_| timed(answer(&limited)))).await;
    let refused: Vec<_> = ends.iter().skip(5).collect();
    assert!(refused.iter().all(|end| **end == (Err(ErrorKind::Overloaded), Duration::ZERO)), "{ends:?}");
    assert!(ends.iter().take(5).all(|end| end.0.is_ok()), "{ends:?}");

    let limited = self::limited(two_a_second().queue(0));
    join_all((0..3).map(|_| answer(&limited))).await;
    let refused = limited.stream(hello(), &RunContext::new()).await.unwrap_err();
    assert!(refused.is_overloaded(), "{refused:?}");
    assert_eq!(refused.retry_after(), Some(ms(500)));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_run_and_what_is_cancelled_has_taken_nothing() {
    let limited = limited(two_a_second().requests(Rate::per_minute(1)));
    answer(&limited).await.unwrap();
    let late = RunContext::new().with_timeout(s(5));
    assert_eq!(timed(answer_under(&limited, &late)).await, (Err(ErrorKind::DeadlineExceeded), s(5)));
    let ctx = RunContext::new();
    let cancelled = async { tokio::join!(answer_under(&limited, &ctx), cancel_after(&ctx, s(2))).0 };
    assert_eq!(timed(cancelled).await, (Err(ErrorKind::Cancelled), s(2)));
    let (said, waited) = timed(answer(&limited)).await;
    assert_eq!((said.is_ok(), waited), (true, s(53)));
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_cost_is_paid_before_the_next_call() {
    // An answer costs three tokens: one of input and two of output.
    let limited = limited(RateLimitOptions::default().tokens(Rate::per_second(1).burst(2)));
    assert_eq!(timed(answer(&limited)).await.1, Duration::ZERO);
    assert_eq!(timed(answer(&limited)).await.1, s(2));
    assert_eq!(timed(answer(&limited)).await.1, s(3));
}

#[tokio::test(start_paused = true)]
async fn texts_to_embed_take_their_tokens_beforehand() {
    // Each call has four words.
    let options = RateLimitOptions::default().tokens(Rate::per_second(2).burst(4));
    let limited = RateLimit::new(FlakyEmbedder::new(0, Duration::ZERO), options);
    assert_eq!(timed(embed(&limited)).await, (Ok(2), Duration::ZERO));
    assert_eq!(timed(embed(&limited)).await, (Ok(2), s(2)));
}

#[tokio::test(start_paused = true)]
async fn a_queue_without_a_bound_counts_who_really_waits() {
    let limited = limited(two_a_second().queue(usize::MAX).longest_wait(s(10)));
    let ends = join_all((0..7).map(|_| answer(&limited))).await;
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
}
