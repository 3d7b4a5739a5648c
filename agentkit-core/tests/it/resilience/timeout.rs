//! Limits of time: to the first event, between two events, altogether.

use agentkit_core::resilience::{Timeout, TimeoutOptions};
use agentkit_core::testing::ScriptedTurn;
use agentkit_core::{ChatEvent, ChatModel, ErrorKind, FinishReason, RunContext};

use super::{
    FlakyEmbedder, answer, answer_under, cancel_after, delta, embed, hanging, hello, ms, s, scripted, timed,
};

fn finished() -> ChatEvent {
    ChatEvent::Finished { reason: FinishReason::Stop }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin_is_unavailable_and_dropped() {
    let model = scripted([hanging()]);
    let timeout = Timeout::new(model.clone(), TimeoutOptions::default().first(s(3)));
    let mut stream = timeout.stream(hello(), &RunContext::new()).await.unwrap();
    let (late, waited) = timed(stream.next()).await;
    let late = late.unwrap().unwrap_err();
    assert_eq!((late.kind(), waited), (ErrorKind::Unavailable, s(3)));
    assert!(late.is_retryable() && late.message().contains("said nothing within 3s"), "{late:?}");
    assert_eq!((model.open_streams(), model.streams_dropped_early()), (0, 1), "the stream is still held");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn silence_is_measured_from_event_to_event() {
    let slow =
        || (0..5).fold(ScriptedTurn::events([delta("a")]), |turn, _| turn.then_wait(s(4)).then(delta("a")));
    let options = TimeoutOptions::default().first(s(1)).idle(s(5));
    let timeout = Timeout::new(scripted([slow().then(finished()), slow().then_hang()]), options);
    assert_eq!(timed(answer(&timeout)).await, (Ok("aaaaaa".into()), s(20)));
    assert_eq!(timed(answer(&timeout)).await, (Err(ErrorKind::Unavailable), s(25)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_taken_for_a_silent_model() {
    let turn = ScriptedTurn::events([delta("a")])
        .then_wait(ms(1))
        .then(delta("b"))
        .then_wait(ms(1))
        .then(finished());
    let timeout = Timeout::new(scripted([turn]), TimeoutOptions::default().idle(s(5)));
    let mut stream = timeout.stream(hello(), &RunContext::new()).await.unwrap();
    for expected in [delta("a"), delta("b"), finished()] {
        assert_eq!(stream.next().await.unwrap().unwrap(), expected);
        tokio::time::sleep(s(60)).await;
    }
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_whole_answer_is_limited_however_lively_it_is() {
    let endless = (0..100).fold(ScriptedTurn::events([]), |turn, _| turn.then(delta("a")).then_wait(s(1)));
    let timeout = Timeout::new(scripted([endless]), TimeoutOptions::default().idle(s(5)).total(s(10)));
    assert_eq!(timed(answer(&timeout)).await, (Err(ErrorKind::Unavailable), s(10)));

    let ready = (0..100).fold(ScriptedTurn::events([]), |turn, _| turn.then(delta("a")));
    let timeout = Timeout::new(scripted([ready]), TimeoutOptions::default().total(s(10)));
    let mut stream = timeout.stream(hello(), &RunContext::new()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    tokio::time::sleep(s(11)).await;
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn the_run_may_end_before_the_limit() {
    let timeout =
        Timeout::new(scripted([hanging(), hanging()]), TimeoutOptions::default().first(s(60)).total(s(90)));
    let late = RunContext::new().with_timeout(s(2));
    assert_eq!(timed(answer_under(&timeout, &late)).await, (Err(ErrorKind::DeadlineExceeded), s(2)));
    let ctx = RunContext::new();
    let cancelled = async { tokio::join!(answer_under(&timeout, &ctx), cancel_after(&ctx, s(1))).0 };
    assert_eq!(timed(cancelled).await, (Err(ErrorKind::Cancelled), s(1)));
}

#[tokio::test(start_paused = true)]
async fn without_limits_nothing_is_limited() {
    let patient = ScriptedTurn::events([])
        .then_wait(s(100_000))
        .then(delta("a"))
        .then_wait(s(100_000))
        .then(finished());
    let timeout = Timeout::new(scripted([patient]), TimeoutOptions::default());
    assert_eq!(answer(&timeout).await, Ok("a".into()));
}

#[tokio::test(start_paused = true)]
async fn embeddings_are_limited_as_a_whole() {
    let options = TimeoutOptions::default().total(s(5));
    assert_eq!(embed(&Timeout::new(FlakyEmbedder::new(0, s(4)), options.clone())).await, Ok(2));
    let slow = Timeout::new(FlakyEmbedder::new(0, s(6)), options);
    assert_eq!(timed(embed(&slow)).await, (Err(ErrorKind::Unavailable), s(5)));
}
