//! Repetitions: how often, after what wait, and never behind the first event.

use std::time::Duration;

use agentkit_core::resilience::{Retry, RetryOptions};
use agentkit_core::testing::ScriptedTurn;
use agentkit_core::{ChatModel, ErrorKind, RunContext};

use super::{
    FlakyEmbedder, answer, answer_under, cancel_after, delta, embed, failing, failure, hello, ms, s,
    scripted, timed, unavailable,
};

fn options() -> RetryOptions {
    RetryOptions::default().attempts(3).backoff(ms(100), s(10)).seed(7)
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_with_growing_waits() {
    let model = scripted([unavailable(), failing(ErrorKind::RateLimited), ScriptedTurn::text("at last")]);
    let retry = Retry::new(model.clone(), options());
    let (said, waited) = timed(answer(&retry)).await;
    assert_eq!(said.unwrap(), "at last");
    assert_eq!(model.requests().len(), 3);
    assert!(waited > Duration::ZERO && waited <= ms(100) + ms(200), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_seed_makes_the_waits_repeatable() {
    let mut waits = Vec::new();
    for _ in 0..2 {
        let retry = Retry::new(scripted([unavailable(), unavailable(), ScriptedTurn::text("x")]), options());
        waits.push(timed(answer(&retry)).await.1);
    }
    assert_eq!(waits[0], waits[1]);
}

#[tokio::test(start_paused = true)]
async fn after_the_last_try_its_error_is_returned() {
    let model = scripted([unavailable(), unavailable(), failing(ErrorKind::RateLimited)]);
    assert_eq!(answer(&Retry::new(model.clone(), options())).await, Err(ErrorKind::RateLimited));
    assert_eq!(model.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_not_tried_again() {
    for kind in [
        ErrorKind::InvalidInput,
        ErrorKind::Unauthorized,
        ErrorKind::Overloaded,
        ErrorKind::BudgetExhausted,
        ErrorKind::Internal,
    ] {
        let model = scripted([failing(kind), ScriptedTurn::text("never")]);
        let (said, waited) = timed(answer(&Retry::new(model.clone(), options()))).await;
        assert_eq!((said, waited), (Err(kind), Duration::ZERO));
        assert_eq!(model.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_fails_before_its_first_event_is_repeated_and_one_that_fails_later_is_not() {
    let early = ScriptedTurn::events([]).then_fail(failure(ErrorKind::Unavailable));
    let late = ScriptedTurn::events([delta("one")]).then_fail(failure(ErrorKind::Unavailable));
    let model = scripted([early, late, ScriptedTurn::text("never")]);
    let retry = Retry::new(model.clone(), options());
    let mut stream = retry.stream(hello(), &RunContext::new()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), delta("one"));
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(stream.next().await.is_none());
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_the_server_asked_for_is_kept_to() {
    let asking = |wait| ScriptedTurn::refuse(failure(ErrorKind::RateLimited).with_retry_after(wait));
    let model = scripted([asking(s(7)), ScriptedTurn::text("thanks")]);
    let (said, waited) = timed(answer(&Retry::new(model, options()))).await;
    assert_eq!(said.unwrap(), "thanks");
    assert!(waited >= s(7) && waited <= s(7) + ms(100), "{waited:?}");

    let model = scripted([asking(s(31)), ScriptedTurn::text("never")]);
    let retry = Retry::new(model, options().longest_wait(s(30)));
    let (refused, waited) = timed(retry.stream(hello(), &RunContext::new())).await;
    assert_eq!((refused.unwrap_err().retry_after(), waited), (Some(s(31)), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_the_deadline_is_not_begun_and_one_that_is_cancelled_ends_at_once() {
    let asking = || ScriptedTurn::refuse(failure(ErrorKind::RateLimited).with_retry_after(s(7)));
    let late = RunContext::new().with_timeout(s(5));
    let retry = Retry::new(scripted([asking(), ScriptedTurn::text("never")]), options());
    assert_eq!(timed(answer_under(&retry, &late)).await, (Err(ErrorKind::RateLimited), Duration::ZERO));

    let ctx = RunContext::new();
    let retry = Retry::new(scripted([asking(), ScriptedTurn::text("never")]), options());
    let ((said, ()), waited) =
        timed(async { tokio::join!(answer_under(&retry, &ctx), cancel_after(&ctx, s(2))) }).await;
    assert_eq!((said, waited), (Err(ErrorKind::Cancelled), s(2)));
}

#[tokio::test(start_paused = true)]
async fn embeddings_are_tried_again_as_well() {
    let flaky = FlakyEmbedder::new(2, Duration::ZERO);
    assert_eq!(embed(&Retry::new(flaky.clone(), options())).await, Ok(2));
    assert_eq!(flaky.calls(), 3);
    let broken = FlakyEmbedder::new(5, Duration::ZERO);
    assert_eq!(embed(&Retry::new(broken.clone(), options().attempts(0))).await, Err(ErrorKind::Unavailable));
    assert_eq!(broken.calls(), 1);
}
