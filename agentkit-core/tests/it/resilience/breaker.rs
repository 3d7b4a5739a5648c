//! The circuit breaker around models and embedders.

use std::time::Duration;

use agentkit_core::resilience::{BreakerOptions, BreakerState, CircuitBreaker};
use agentkit_core::testing::ScriptedTurn;
use agentkit_core::{ChatModel, ErrorKind, RunContext};

use super::{
    FlakyEmbedder, answer, answer_under, delta, embed, failing, failure, hanging, hello, s, scripted,
    unavailable,
};

fn options() -> BreakerOptions {
    BreakerOptions::default().failures(2, 3).open_for(s(10)).probes(2)
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_failures_and_closes_after_probes() {
    let turns = [
        unavailable(),
        ScriptedTurn::text("a"),
        unavailable(),
        ScriptedTurn::text("b"),
        ScriptedTurn::text("c"),
    ];
    let model = scripted(turns);
    let breaker = CircuitBreaker::new(model.clone(), options());
    for expected in [Err(ErrorKind::Unavailable), Ok("a".into()), Err(ErrorKind::Unavailable)] {
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(answer(&breaker).await, expected);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    tokio::time::advance(s(4)).await;
    let refused = breaker.stream(hello(), &RunContext::new()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry_after()), (ErrorKind::Unavailable, Some(s(6))));
    assert_eq!(model.requests().len(), 3, "an open circuit let a call through");
    tokio::time::advance(s(6)).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(answer(&breaker).await, Ok("b".into()));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(answer(&breaker).await, Ok("c".into()));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_it_again() {
    let breaker = CircuitBreaker::new(scripted([unavailable(), unavailable(), unavailable()]), options());
    for _ in 0..2 {
        assert!(answer(&breaker).await.is_err());
    }
    tokio::time::advance(s(10)).await;
    assert!(answer(&breaker).await.is_err());
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn probes_are_limited_and_hanging_ones_are_replaced() {
    let turns = [unavailable(), unavailable(), hanging(), hanging(), hanging()];
    let model = scripted(turns);
    let breaker = CircuitBreaker::new(model.clone(), options());
    for _ in 0..2 {
        assert!(answer(&breaker).await.is_err());
    }
    tokio::time::advance(s(10)).await;
    let ctx = RunContext::new();
    let first = breaker.stream(hello(), &ctx).await.unwrap();
    let _second = breaker.stream(hello(), &ctx).await.unwrap();
    assert_eq!(breaker.stream(hello(), &ctx).await.unwrap_err().retry_after(), Some(s(10)));
    drop(first);
    let _third = breaker.stream(hello(), &ctx).await.unwrap();
    assert!(breaker.stream(hello(), &ctx).await.is_err(), "more probes than allowed");
    assert_eq!(model.requests().len(), 5);
    tokio::time::advance(s(10)).await;
    assert_eq!(
        breaker.stream(hello(), &ctx).await.unwrap_err().kind(),
        ErrorKind::Internal,
        "no turn was left"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_in_the_middle_of_answers_count_and_those_of_callers_do_not() {
    let broken = || ScriptedTurn::events([delta("a")]).then_fail(failure(ErrorKind::Unavailable));
    let breaker = CircuitBreaker::new(scripted([broken(), broken()]), options());
    for _ in 0..2 {
        assert!(answer(&breaker).await.is_err());
    }
    assert_eq!(breaker.state(), BreakerState::Open);

    for kind in [ErrorKind::InvalidInput, ErrorKind::Unauthorized, ErrorKind::Overloaded, ErrorKind::NotFound]
    {
        let breaker = CircuitBreaker::new(scripted([failing(kind), failing(kind), failing(kind)]), options());
        for _ in 0..3 {
            assert_eq!(answer(&breaker).await, Err(kind));
        }
        assert_eq!(breaker.state(), BreakerState::Closed, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_stopped_or_dropped_say_nothing() {
    let breaker = CircuitBreaker::new(scripted((0..6).map(|_| hanging())), options());
    for _ in 0..3 {
        let late = RunContext::new().with_timeout(s(1));
        assert_eq!(answer_under(&breaker, &late).await, Err(ErrorKind::DeadlineExceeded));
        drop(breaker.stream(hello(), &RunContext::new()).await.unwrap());
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_embedder_is_left_alone_as_well() {
    let flaky = FlakyEmbedder::new(2, Duration::ZERO);
    let breaker = CircuitBreaker::new(flaky.clone(), options());
    for _ in 0..3 {
        assert_eq!(embed(&breaker).await, Err(ErrorKind::Unavailable));
    }
    assert_eq!((flaky.calls(), breaker.state()), (2, BreakerState::Open));
    tokio::time::advance(s(10)).await;
    for _ in 0..3 {
        assert_eq!(embed(&breaker).await, Ok(2));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn it_may_stay_open_for_ever() {
    let options = BreakerOptions::default().failures(1, 1).open_for(Duration::MAX);
    let breaker = CircuitBreaker::new(scripted([unavailable()]), options);
    for _ in 0..2 {
        assert_eq!(answer(&breaker).await, Err(ErrorKind::Unavailable));
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}
