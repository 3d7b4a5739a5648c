//! Agents made of agents keep to the contract of an agent, add up what was used, and stop together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_core::testing::conformance::{self, AgentFixture};
use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentEventKind, AgentReply, AgentTool, ChatEvent, Error, ErrorKind, FinishReason, Handling,
    MAX_MESSAGE_BYTES, MemoryCheckpointer, Outcome, Parallel, Refine, Result, Route, Router, RunContext,
    Sequence, TenantScope, Tool, ToolAgent, ToolPolicy, Usage, Verdict,
};
use serde_json::json;

use crate::agents::Flaw;
use crate::conformance::quoting_agent;
use crate::tooling::*;

/// An agent that says `text` to everything, and its model.
fn saying(text: &str) -> (Arc<dyn Agent>, Arc<ScriptedModel>) {
    let model = Arc::new(ScriptedModel::saying(text));
    (Arc::new(ToolAgent::builder(model.clone()).build().unwrap()), model)
}

/// An agent that plays `turns` and may greet, slowly.
fn playing(turns: impl IntoIterator<Item = ScriptedTurn>, log: &Arc<Log>) -> Arc<dyn Agent> {
    Arc::new(agent(&model(turns), [greet(log)]))
}

fn failing() -> Arc<dyn Agent> {
    let gone = Error::new(ErrorKind::Unavailable, "gone");
    playing([ScriptedTurn::refuse(gone)], &Arc::default())
}

/// An agent whose only tool needs approval.
fn waiting() -> Arc<dyn Agent> {
    let tool = greet(&Arc::default()).policy(ToolPolicy::new().handling(Handling::Approve));
    let builder = ToolAgent::builder(model([greets(&["Ada"])])).tool(Arc::new(tool));
    Arc::new(builder.checkpoints(Arc::new(MemoryCheckpointer::new())).build().unwrap())
}

async fn reply(agent: &dyn Agent) -> Result<AgentReply> {
    agent.run(input(), &RunContext::new()).await?.collect().await
}

fn asked(model: &ScriptedModel) -> String {
    model.requests().last().unwrap().messages.last().unwrap().joined_text()
}

fn judged(agent: Arc<dyn Agent>) -> Refine {
    Refine::new(agent, |_, draft, _| async move {
        Ok(if draft.answer.contains("good") { Verdict::Accept } else { Verdict::Revise("be good".into()) })
    })
}

#[tokio::test]
async fn agents_made_of_agents_conform() {
    let hello = || saying("hello").0;
    let router = Router::new(Arc::new(ScriptedModel::saying("one")), vec![Route::new("one", "all", hello())]);
    let whole: [Arc<dyn Agent>; 4] = [
        Arc::new(Sequence::new(vec![hello(), hello()])),
        Arc::new(Parallel::new(vec![("one".into(), hello()), ("two".into(), hello())], hello())),
        Arc::new(router),
        Arc::new(judged(hello()).rounds(2)),
    ];
    for agent in whole {
        conformance::agent(&AgentFixture::new(agent, TenantScope::local())).await;
    }
    let tool = AgentTool::new("ask", "Asks.", hello(), TenantScope::local());
    conformance::tool(&tool, json!({"message": "hi"})).await;
}

#[tokio::test]
async fn what_the_last_part_cites_is_passed_on() {
    let (first, _) = saying("How do I reset the router?");
    let quoting = agent_fixture_agent();
    for whole in [
        Arc::new(Sequence::new(vec![first, quoting.clone()])) as Arc<dyn Agent>,
        Arc::new(Refine::new(quoting.clone(), |_, _, _| async { Ok(Verdict::Accept) })),
    ] {
        conformance::agent(&AgentFixture::new(whole.clone(), conformance::fixture_scope())).await;
        let input =
            agentkit_core::AgentInput::new(conformance::fixture_scope(), "How do I reset the router?");
        let reply = whole.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
        assert_eq!(reply.citations.len(), 1);
        assert!(!reply.sources.is_empty());
    }
}

fn agent_fixture_agent() -> Arc<dyn Agent> {
    Arc::new(quoting_agent(Flaw::None))
}

#[tokio::test]
async fn a_sequence_hands_each_answer_on_and_adds_up_what_was_used() {
    let ((one, _), (two, second)) = (saying("an outline of tea"), saying("a text"));
    let plain = Sequence::new(vec![one.clone(), two.clone()]);
    let told = reply(&plain).await.unwrap();
    assert_eq!((told.answer.as_str(), asked(&second).as_str()), ("a text", "an outline of tea"));
    assert_eq!(told.usage, Usage { input_tokens: 2, output_tokens: 6 });
    let both = plain.hand_over(|message, answer| format!("{message}: {answer}"));
    reply(&both).await.unwrap();
    assert_eq!(asked(&second), "greet everybody: an outline of tea");
    assert!(reply(&Sequence::new(vec![])).await.unwrap_err().is_invalid_input());
    let error = reply(&Sequence::new(vec![one, failing(), two])).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "gone"));
}

#[tokio::test(start_paused = true)]
async fn parallel_agents_work_at_the_same_time_and_their_answers_keep_their_order() {
    let log = Arc::<Log>::default();
    let slow = |name: &str, ms: u64| {
        let turn = asks([call("1", "greet", json!({"name": name, "ms": ms}))]);
        (name.to_owned(), playing([turn, ScriptedTurn::text(format!("I am {name}"))], &log))
    };
    let (combine, model) = saying("all of them");
    let begun = tokio::time::Instant::now();
    let whole = Parallel::new(vec![slow("one", 3000), slow("two", 1000), slow("three", 2000)], combine);
    let told = reply(&whole).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(told.answer, "all of them");
    let expected = "greet everybody\n\n## one\n\nI am one\n\n## two\n\nI am two\n\n## three\n\nI am three";
    assert_eq!(asked(&model), expected);
    assert_eq!(told.usage.input_tokens, 7);

    let turn = asks([call("1", "greet", json!({"name": "slow", "ms": 9000}))]);
    let hanging = ("slow".to_owned(), playing([turn], &log));
    let whole = Parallel::new(vec![("failing".into(), failing()), hanging], saying("never").0);
    assert_eq!(reply(&whole).await.unwrap_err().message(), "gone");
    assert_eq!(log.open.load(Ordering::SeqCst), 0, "the others are stopped");
}

#[tokio::test]
async fn a_router_takes_the_route_the_model_names_and_the_first_if_it_names_none() {
    for (said, expected) in [
        ("billing", "paid"),
        (" Billing\n", "paid"),
        ("It is for billing.", "paid"),
        ("billing or support", "hello"),
        ("I cannot say", "hello"),
        ("", "hello"),
    ] {
        let routes = vec![
            Route::new("general", "everything else", saying("hello").0),
            Route::new("billing", "money", saying("paid").0),
            Route::new("support", "trouble", saying("reboot").0),
        ];
        let whole = Router::new(Arc::new(ScriptedModel::saying(said)), routes);
        assert_eq!(reply(&whole).await.unwrap().answer, expected, "{said:?}");
    }
    let waits = Router::new(Arc::new(ScriptedModel::saying("x")), vec![Route::new("x", "all", waiting())]);
    let told = reply(&waits).await.unwrap();
    assert_eq!((told.outcome, told.deferred.len()), (Outcome::Waiting, 1), "a route can wait");
}

#[tokio::test]
async fn drafts_are_revised_until_they_are_accepted_or_the_rounds_are_used_up() {
    let texts = ["bad", "worse", "good", "better"];
    let log = Arc::default();
    let author = || playing(texts.map(ScriptedTurn::text), &log);
    let events = events_of(judged(author()).run(input(), &RunContext::new()).await.unwrap()).await;
    well_formed(&events);
    assert_eq!(names(&events), ["started", "delta", "usage", "done"], "drafts are told nobody");
    assert!(matches!(&events[1], AgentEventKind::Delta { text } if text == "good"));
    assert_eq!(reply(&judged(author()).rounds(2)).await.unwrap().answer, "worse");
    let broken =
        Refine::new(author(), |_, _, _| async { Err(Error::new(ErrorKind::Unavailable, "no judge")) });
    assert_eq!(reply(&broken).await.unwrap_err().message(), "no judge");
}

#[tokio::test]
async fn a_part_that_would_wait_is_refused_where_its_work_would_be_lost() {
    let hello = || saying("hello").0;
    let whole: [Arc<dyn Agent>; 3] = [
        Arc::new(Sequence::new(vec![waiting(), hello()])),
        Arc::new(Parallel::new(vec![("one".into(), waiting())], hello())),
        Arc::new(judged(waiting())),
    ];
    for agent in whole {
        assert_eq!(reply(agent.as_ref()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let tool = AgentTool::new("ask", "Asks.", waiting(), TenantScope::local());
    let error = tool.call(json!({"message": "hi"}), &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn an_agent_as_a_tool_tells_its_answer_with_citations_and_its_failures() {
    let scope = conformance::fixture_scope();
    let quoting = AgentTool::new("manual", "Knows the manual.", agent_fixture_agent(), scope);
    let told =
        quoting.call(json!({"message": "How do I reset the router?"}), &RunContext::new()).await.unwrap();
    assert!(told["citations"][0]["quote"].is_string(), "{told}");
    let broken = AgentTool::new("broken", "Fails.", failing(), TenantScope::local());
    let turn = asks([call("1", "broken", json!({"message": "hi"}))]);
    let model = model([turn, ScriptedTurn::text("it is gone")]);
    let host = ToolAgent::builder(model.clone()).tool(Arc::new(broken)).build().unwrap();
    assert_eq!(host.ask(&TenantScope::local(), "hi").await.unwrap().answer, "it is gone");
    assert_eq!(crate::tooling::told(&model), ["gone"]);
}

#[tokio::test(start_paused = true)]
async fn stopping_the_whole_stops_its_parts() {
    let log = Arc::<Log>::default();
    let slow = || playing([asks([call("1", "greet", json!({"name": "slow", "ms": 9000}))])], &log);
    let tool = AgentTool::new("ask", "Asks.", slow(), TenantScope::local());
    let turn = asks([call("1", "ask", json!({"message": "hi"}))]);
    let host = ToolAgent::builder(model([turn])).tool(Arc::new(tool)).build().unwrap();
    let whole: [Arc<dyn Agent>; 5] = [
        Arc::new(Sequence::new(vec![slow(), slow()])),
        Arc::new(Parallel::new(vec![("one".into(), slow()), ("two".into(), slow())], slow())),
        Arc::new(Router::new(Arc::new(ScriptedModel::saying("x")), vec![Route::new("x", "all", slow())])),
        Arc::new(judged(slow())),
        Arc::new(host),
    ];
    for agent in whole {
        let ctx = RunContext::new();
        let run = agent.run(input(), &ctx).await.unwrap();
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(log.open.load(Ordering::SeqCst) > 0, "nothing is under way");
            ctx.cancel();
        };
        let begun = tokio::time::Instant::now();
        let (reply, ()) = tokio::join!(run.collect(), stop);
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert!(reply.unwrap_err().is_stopped());
        assert_eq!(log.open.load(Ordering::SeqCst), 0);
    }
}

/// An agent that greets Ada once in each of its runs, writes its runs down in `store`, and says `text`.
fn greeter(text: &str, log: &Arc<Log>, store: &Arc<MemoryCheckpointer>, runs: usize) -> Arc<dyn Agent> {
    let turns = (0..runs).flat_map(|_| [greets(&["Ada"]), ScriptedTurn::text(text)]);
    let agent = ToolAgent::builder(model(turns)).tool(Arc::new(greet(log))).checkpoints(store.clone());
    Arc::new(agent.build().unwrap())
}

#[tokio::test]
async fn in_a_call_with_a_key_every_part_and_round_has_a_key_of_its_own() {
    let (log, store) = (Arc::<Log>::default(), Arc::<MemoryCheckpointer>::default());
    let parts: [(&str, Arc<dyn Agent>); 3] = [
        (
            "sequence",
            Arc::new(Sequence::new(vec![greeter("a", &log, &store, 1), greeter("b", &log, &store, 1)])),
        ),
        ("refine", Arc::new(judged(greeter("bad", &log, &store, 3)))),
        (
            "parallel",
            Arc::new(Parallel::new(
                vec![
                    ("one".into(), greeter("a", &log, &store, 1)),
                    ("two".into(), greeter("b", &log, &store, 1)),
                ],
                greeter("c", &log, &store, 1),
            )),
        ),
    ];
    for (name, whole) in &parts {
        let ctx = RunContext::new().with_idempotency_key(*name);
        whole.run(input(), &ctx).await.unwrap().collect().await.unwrap();
    }
    let keys: std::collections::BTreeSet<String> = log.calls().into_iter().map(|(_, key)| key).collect();
    assert_eq!((keys.len(), log.names().len()), (8, 8), "{keys:?}");
}

#[tokio::test]
async fn a_call_that_is_repeated_under_its_key_carries_on_the_runs_it_began() {
    let (log, store) = (Arc::<Log>::default(), Arc::<MemoryCheckpointer>::default());
    let whole = || Sequence::new(vec![greeter("a", &log, &store, 1), greeter("b", &log, &store, 1)]);
    let ctx = RunContext::new().with_idempotency_key("call");
    for _ in 0..2 {
        let told = whole().run(input(), &ctx).await.unwrap().collect().await.unwrap();
        assert_eq!(told.answer, "b");
    }
    assert_eq!(log.names(), ["Ada", "Ada"], "nobody is greeted again");
}

#[tokio::test]
async fn what_is_too_long_to_hand_on_is_cut_and_what_is_empty_is_said_to_be() {
    let long = "tea ".repeat(MAX_MESSAGE_BYTES / 4);
    let (combine, model) = saying("all");
    let parts = (0..3).map(|n| (format!("part {n}"), saying(&long).0)).collect();
    assert_eq!(reply(&Parallel::new(parts, combine)).await.unwrap().answer, "all");
    let told = asked(&model);
    assert!(told.len() <= MAX_MESSAGE_BYTES && told.matches("are not shown").count() == 3);

    let draft = saying(&format!("{long}good")).0;
    assert!(reply(&judged(draft)).await.unwrap().answer.ends_with("good"));
    let (author, model) = saying(&long);
    reply(&judged(author).rounds(2)).await.unwrap();
    assert!(asked(&model).len() <= MAX_MESSAGE_BYTES && asked(&model).ends_with("Write a better one."));

    let (last, model) = saying("text");
    let nothing = ScriptedTurn::events([ChatEvent::Finished { reason: FinishReason::Length }]);
    reply(&Sequence::new(vec![playing([nothing], &Arc::default()), last])).await.unwrap();
    assert_eq!(asked(&model), "(no answer)");
}

#[tokio::test]
async fn what_a_part_used_that_failed_is_counted() {
    let gone = Error::new(ErrorKind::Unavailable, "gone");
    let usage = ChatEvent::Usage(Usage { input_tokens: 5, output_tokens: 1 });
    let costly = playing([ScriptedTurn::events([usage]).then_fail(gone)], &Arc::default());
    let whole = Parallel::new(vec![("one".into(), costly)], saying("never").0);
    let events = events_of(whole.run(input(), &RunContext::new()).await.unwrap()).await;
    let used = events.iter().find_map(|event| match event {
        AgentEventKind::Usage(usage) => Some(usage.input_tokens),
        _ => None,
    });
    assert_eq!((used, failure(&events).0), (Some(5), ErrorKind::Unavailable));
}
