//! The cache of answers, and calls that are shared while they run.

use std::sync::Arc;

use agentkit_core::resilience::{CacheOptions, Cached};
use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    ChatEvent, ChatModel, ChatRequest, ErrorKind, FinishReason, Message, RunContext, Usage, complete,
};
use futures_util::FutureExt;

use super::{
    answer, answer_under, cancel_after, delta, failing, failure, hanging, hello, s, scripted, timed,
};

fn cached(model: Arc<ScriptedModel>) -> Cached<ScriptedModel> {
    Cached::new(model, CacheOptions::default())
}

fn finished() -> ChatEvent {
    ChatEvent::Finished { reason: FinishReason::Stop }
}

fn usage(tokens: u64) -> ChatEvent {
    ChatEvent::Usage(Usage { input_tokens: tokens, output_tokens: tokens })
}

/// Says one word at once and another one a while later.
fn slow() -> ScriptedTurn {
    ScriptedTurn::events([delta("one ")]).then_wait(s(5)).then(delta("two")).then(usage(4)).then(finished())
}

#[tokio::test]
async fn the_same_question_gets_the_same_answer_free_of_charge() {
    let model = scripted([ScriptedTurn::text("first answer"), ScriptedTurn::text("second answer")]);
    let cached = cached(model.clone());
    let ctx = RunContext::new();
    let first = complete(&cached, hello(), &ctx).await.unwrap();
    let again = complete(&cached, hello(), &ctx).await.unwrap();
    assert_eq!((first.text.as_str(), first.usage.total()), ("first answer", 3));
    assert_eq!((again.text.as_str(), again.usage.total()), ("first answer", 0));
    let mut other = hello();
    other.temperature = Some(0.5);
    assert_eq!(complete(&cached, other, &ctx).await.unwrap().text, "second answer");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_grow_old() {
    let model = scripted([ScriptedTurn::text("old"), ScriptedTurn::text("new")]);
    let cached = Cached::new(model, CacheOptions::default().time_to_live(s(60)));
    assert_eq!(answer(&cached).await, Ok("old".into()));
    tokio::time::advance(s(59)).await;
    assert_eq!(answer(&cached).await, Ok("old".into()));
    tokio::time::advance(s(1)).await;
    assert_eq!(answer(&cached).await, Ok("new".into()));
    assert_eq!(answer(&cached).await, Ok("new".into()));
}

#[tokio::test(start_paused = true)]
async fn equal_questions_share_a_call_and_one_of_them_pays() {
    let model = scripted([slow()]);
    let cached = cached(model.clone());
    let ctx = RunContext::new();
    let ask = || complete(&cached, hello(), &ctx);
    let ((a, b, c), took) = timed(async { tokio::join!(ask(), ask(), ask()) }).await;
    let answers = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert!(answers.iter().all(|answer| answer.text == "one two"));
    assert_eq!(answers.iter().map(|answer| answer.usage.total()).sum::<u64>(), 8);
    assert_eq!((model.requests().len(), took), (1, s(5)));
}

#[tokio::test(start_paused = true)]
async fn a_shared_call_streams_to_everybody_and_nobody_waits_for_another_reader() {
    let model = scripted([slow()]);
    let cached = cached(model.clone());
    let ctx = RunContext::new();
    let mut leader = cached.stream(hello(), &ctx).await.unwrap();
    assert_eq!(leader.next().await.unwrap().unwrap(), delta("one "));
    let mut follower = cached.stream(hello(), &ctx).await.unwrap();
    assert_eq!(follower.next().await.unwrap().unwrap(), delta("one "));
    // The first reader has asked for more and is then forgotten by its owner, without being dropped.
    assert!(leader.next().now_or_never().is_none());
    assert_eq!(follower.next().await.unwrap().unwrap(), delta("two"));
    assert!(matches!(follower.next().await, Some(Ok(ChatEvent::Usage(_)))));
    assert_eq!(follower.next().await.unwrap().unwrap(), finished());
    assert!(follower.next().await.is_none());
    assert_eq!(leader.next().await.unwrap().unwrap(), delta("two"));
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_one_who_asked_first_may_leave_and_the_call_goes_on() {
    let model = scripted([slow()]);
    let cached = cached(model.clone());
    let ctx = RunContext::new();
    let leaving = async { tokio::join!(answer_under(&cached, &ctx), cancel_after(&ctx, s(2))).0 };
    let (left, stayed) = tokio::join!(leaving, answer(&cached));
    assert_eq!((left, stayed), (Err(ErrorKind::Cancelled), Ok("one two".into())));
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_last_reader_is_gone_the_call_is_stopped_and_the_next_one_asks_anew() {
    let model = scripted([hanging(), ScriptedTurn::text("anew")]);
    let cached = cached(model.clone());
    let late = RunContext::new().with_timeout(s(3));
    assert_eq!(timed(answer_under(&cached, &late)).await, (Err(ErrorKind::DeadlineExceeded), s(3)));
    assert_eq!((model.open_streams(), model.streams_dropped_early()), (0, 1));
    assert_eq!(answer(&cached).await, Ok("anew".into()));
}

#[tokio::test(start_paused = true)]
async fn errors_reach_everybody_who_waits_and_are_not_remembered() {
    let cause = std::io::Error::other("the cause");
    let broken = failure(ErrorKind::RateLimited).with_retry_after(s(9)).with_source(cause);
    let turn = ScriptedTurn::events([]).then_wait(s(1)).then_fail(broken);
    let model = scripted([turn, failing(ErrorKind::InvalidInput), ScriptedTurn::text("well")]);
    let cached = cached(model.clone());
    let ctx = RunContext::new();
    let (one, two) = tokio::join!(cached.stream(hello(), &ctx), cached.stream(hello(), &ctx));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(s(9))));
        assert_eq!(error.chain(), "scripted: the cause");
    }
    assert_eq!(model.requests().len(), 1);
    assert!(
        cached.stream(hello(), &ctx).await.unwrap_err().is_invalid_input(),
        "not an error of `stream` itself"
    );
    assert_eq!(answer(&cached).await, Ok("well".into()));
}

#[tokio::test]
async fn an_answer_that_broke_off_or_was_withheld_is_not_remembered() {
    let broken = ScriptedTurn::events([delta("one")]).then_fail(failure(ErrorKind::Unavailable));
    let short = ScriptedTurn::events([delta("one")]);
    let withheld =
        ScriptedTurn::events([delta("one"), ChatEvent::Finished { reason: FinishReason::ContentFilter }]);
    let cached = cached(scripted([broken, short, withheld, ScriptedTurn::text("whole")]));
    assert_eq!(answer(&cached).await, Err(ErrorKind::Unavailable));
    assert_eq!(answer(&cached).await, Err(ErrorKind::Internal));
    assert_eq!(answer(&cached).await, Ok("one".into()));
    assert_eq!(answer(&cached).await, Ok("whole".into()));
}

#[tokio::test]
async fn no_more_is_kept_than_there_is_room_for() {
    let model = Arc::new(ScriptedModel::saying("hello"));
    let cached = Cached::new(model.clone(), CacheOptions::default().capacity(10));
    for _ in 0..3 {
        assert_eq!(answer(&cached).await, Ok("hello".into()));
    }
    assert_eq!(model.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_that_ask_and_leave_all_get_whole_answers() {
    let turns = (0..1000).map(|n| ScriptedTurn::text(format!("answer {n} to all")));
    let cached = Arc::new(Cached::new(scripted(turns), CacheOptions::default()));
    let tasks = (0..200).map(|n| {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move {
            let request = ChatRequest::new(vec![Message::user(format!("question {}", n % 7))]);
            let ctx = RunContext::new();
            let mut stream = cached.stream(request, &ctx).await.unwrap();
            if n % 3 == 0 {
                return stream.next().await.unwrap().unwrap();
            }
            delta(&stream.collect().await.unwrap().text)
        })
    });
    for (n, task) in tasks.collect::<Vec<_>>().into_iter().enumerate() {
        let ChatEvent::Delta { text } = task.await.unwrap() else { panic!("no text") };
        assert!(text == "answer " || (n % 3 != 0 && text.ends_with("to all")), "{text}");
    }
}
