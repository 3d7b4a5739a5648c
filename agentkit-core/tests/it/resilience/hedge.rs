//! Hedging: when a second call is made, and which one is taken.

use std::time::Duration;

use agentkit_core::resilience::{Hedge, HedgeOptions};
use agentkit_core::testing::ScriptedTurn;
use agentkit_core::{ChatEvent, ErrorKind, FinishReason, RunContext};

use super::{
    FlakyEmbedder, answer, answer_under, cancel_after, delta, embed, failing, failure, hanging, s, scripted,
    timed, unavailable,
};

fn after(wait: Duration, text: &str) -> ScriptedTurn {
    let finished = ChatEvent::Finished { reason: FinishReason::Stop };
    ScriptedTurn::events([]).then_wait(wait).then(delta(text)).then(finished)
}

#[tokio::test(start_paused = true)]
async fn a_quick_answer_is_asked_for_once() {
    let model = scripted([after(s(1), "quick")]);
    let hedge = Hedge::new(model.clone(), HedgeOptions::new(s(2)));
    assert_eq!(timed(answer(&hedge)).await, (Ok("quick".into()), s(1)));
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_the_one_that_begins_first_is_taken_and_the_other_dropped() {
    for (first, second, expected, took) in
        [(hanging(), after(s(1), "second"), "second", 3), (after(s(4), "first"), hanging(), "first", 4)]
    {
        let model = scripted([first, second]);
        let hedge = Hedge::new(model.clone(), HedgeOptions::new(s(2)));
        assert_eq!(timed(answer(&hedge)).await, (Ok(expected.into()), s(took)));
        assert_eq!((model.requests().len(), model.open_streams(), model.streams_dropped_early()), (2, 0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_returned_unless_another_call_may_still_answer() {
    let model = scripted([unavailable()]);
    assert_eq!(
        answer(&Hedge::new(model.clone(), HedgeOptions::new(s(2)))).await,
        Err(ErrorKind::Unavailable)
    );
    let broken = ScriptedTurn::events([]).then_wait(s(3)).then_fail(failure(ErrorKind::Unavailable));
    let hedge = Hedge::new(scripted([broken, after(s(5), "second")]), HedgeOptions::new(s(2)));
    assert_eq!(timed(answer(&hedge)).await, (Ok("second".into()), s(7)));
    let hedge = Hedge::new(scripted([hanging(), failing(ErrorKind::InvalidInput)]), HedgeOptions::new(s(2)));
    assert_eq!(timed(answer(&hedge)).await, (Err(ErrorKind::InvalidInput), s(2)));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_made_than_allowed_and_all_end_with_the_run() {
    let model = scripted((0..9).map(|_| hanging()));
    let hedge = Hedge::new(model.clone(), HedgeOptions::new(s(1)).extra(2));
    let ctx = RunContext::new();
    let cancelled = async { tokio::join!(answer_under(&hedge, &ctx), cancel_after(&ctx, s(30))).0 };
    assert_eq!(timed(cancelled).await, (Err(ErrorKind::Cancelled), s(30)));
    assert_eq!((model.requests().len(), model.open_streams()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn embeddings_are_hedged_as_well() {
    let flaky = FlakyEmbedder::new(1, s(3));
    assert_eq!(timed(embed(&Hedge::new(flaky.clone(), HedgeOptions::new(s(2))))).await, (Ok(2), s(5)));
    assert_eq!(flaky.calls(), 2);
}
