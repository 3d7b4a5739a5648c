//! The machine alone, under inputs of every kind and order.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::message::{Part, Role, ToolCall, ToolResult};
use crate::model::{ChatResponse, FinishReason, Usage};
use crate::tool::Repeat;

fn settings() -> RunSettings {
    RunSettings::new(RunId::new("run").unwrap(), ChatRequest::new(vec![Message::user("hello")]))
}

fn run(limits: RunLimits) -> AgentRun {
    AgentRun::new(settings().limits(limits)).unwrap()
}

fn call(id: &str, name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments }
}

fn answer(text: &str, calls: Vec<ToolCall>) -> RunInput {
    let mut answer = ChatResponse::new(FinishReason::Stop);
    answer.text = text.into();
    answer.tool_calls = calls;
    answer.usage = Usage { input_tokens: 10, output_tokens: 1 };
    RunInput::ModelAnswered(answer)
}

fn settled(id: &str, content: &str) -> RunInput {
    RunInput::ToolSettled(ToolResult { call_id: id.into(), content: content.into(), is_error: false })
}

fn started(id: &str, repeat: Repeat) -> RunInput {
    RunInput::ToolStarted { call_id: id.into(), arguments: None, repeat }
}

fn ready_ids(run: &AgentRun) -> Vec<String> {
    match run.step() {
        RunStep::RunTools(ready) => ready.into_iter().map(|ready| ready.call.id).collect(),
        _ => Vec::new(),
    }
}

fn stopped_for(run: &AgentRun) -> &StopReason {
    match run.end() {
        Some(RunEnd::Stopped(reason)) => reason,
        other => panic!("the run was not stopped but is {other:?}"),
    }
}

fn contents(results: &[ToolResult]) -> Vec<&str> {
    results.iter().map(|result| result.content.as_str()).collect()
}

/// Answers every call of the step at once.
fn answer_all(run: &mut AgentRun) {
    for id in ready_ids(run) {
        run.apply(started(&id, Repeat::Never)).unwrap();
        run.apply(settled(&id, "done")).unwrap();
    }
}

#[test]
fn results_are_told_in_the_order_of_the_calls_and_enter_the_history_together() {
    let mut run = run(RunLimits::new());
    let calls = ["a", "b", "c"].map(|id| call(id, "t", json!({ "for": id })));
    let asked = run.apply(answer("let me see", calls.to_vec())).unwrap().asked;
    assert_eq!(asked, calls);
    for id in ["a", "b", "c"] {
        run.apply(started(id, Repeat::Never)).unwrap();
    }
    assert_eq!(run.step(), RunStep::AwaitTools);
    assert!(run.apply(settled("c", "C")).unwrap().settled.is_empty());
    assert_eq!(contents(&run.apply(settled("a", "A")).unwrap().settled), ["A"]);
    assert_eq!(run.added(), [], "a step under way is not in the history");
    assert_eq!(contents(&run.apply(settled("b", "B")).unwrap().settled), ["B", "C"]);
    assert_eq!(run.added().len(), 2);
    assert_eq!(run.added()[1].role, Role::Tool);
    let RunStep::CallModel(request) = run.step() else { panic!("the model is next") };
    assert_eq!(request.messages.len(), 3);
    run.apply(answer("the end", vec![])).unwrap();
    assert_eq!(run.step(), RunStep::Over(RunEnd::Answered));
    assert_eq!(run.totals().usage, Usage { input_tokens: 20, output_tokens: 2 });
}

#[test]
fn every_limit_stops_the_run_with_its_own_reason_and_no_tool_is_run_in_vain() {
    let second = Duration::from_secs(1);
    for (limits, reason) in [
        (RunLimits::new().steps(1), StopReason::StepLimit { limit: 1 }),
        (RunLimits::new().tool_calls(1), StopReason::ToolCallLimit { limit: 1 }),
        (RunLimits::new().tokens(11), StopReason::TokenLimit { limit: 11 }),
        (RunLimits::new().cost(Cost::from_micros(11)), StopReason::CostLimit { limit: 11 }),
        (RunLimits::new().time(second), StopReason::TimeLimit { limit_ms: 1000 }),
    ] {
        let million = Cost::from_micros(1_000_000);
        let price = Price { input: million, output: million };
        let mut run = AgentRun::new(settings().limits(limits).price(price)).unwrap();
        let calls = vec![call("a", "t", json!({})), call("b", "t", json!({"x": 1}))];
        let mut change = run.apply(answer("", calls)).unwrap();
        if limits.time.is_some() {
            run.apply(RunInput::Elapsed { by: second / 2 }).unwrap();
            assert_eq!(run.end(), None);
            change = run.apply(RunInput::Elapsed { by: second / 2 }).unwrap();
        }
        assert_eq!(stopped_for(&run), &reason);
        assert_eq!(change.settled.len(), 2);
        assert!(
            change.settled.iter().all(|result| result.is_error && result.content.starts_with("not run: "))
        );
        validate_history(run.messages()).unwrap();
    }
}

#[test]
fn a_run_without_a_step_is_over_before_it_begins_and_a_token_limit_bounds_the_answer() {
    assert_eq!(stopped_for(&run(RunLimits::new().steps(0))), &StopReason::StepLimit { limit: 0 });
    assert_eq!(stopped_for(&run(RunLimits::new().tokens(0))), &StopReason::TokenLimit { limit: 0 });
    let RunStep::CallModel(request) = run(RunLimits::new().tokens(500)).step() else { panic!("a run") };
    assert_eq!(request.max_tokens, Some(500));
    assert!(AgentRun::new(RunSettings::new(RunId::new("r").unwrap(), ChatRequest::new(vec![]))).is_err());
}

#[test]
fn an_answer_that_exceeds_the_tokens_is_still_the_answer() {
    let mut run = run(RunLimits::new().tokens(5));
    run.apply(answer("dear", vec![])).unwrap();
    assert_eq!(run.end(), Some(&RunEnd::Answered));
}

#[test]
fn a_repeated_call_is_refused_once_and_then_stops_the_run() {
    let mut run = run(RunLimits::new().identical_calls(2));
    let again = || vec![call("", "t", json!({"a": 1, "b": 2}))];
    for _ in 0..2 {
        run.apply(answer("", again())).unwrap();
        assert_eq!(ready_ids(&run).len(), 1);
        answer_all(&mut run);
    }
    let change = run.apply(answer("", vec![call("", "t", json!({"b": 2, "a": 1}))])).unwrap();
    assert!(change.settled[0].content.contains("has been made 2 times"), "{change:?}");
    assert!(matches!(run.step(), RunStep::CallModel(_)));
    let change = run.apply(answer("", again())).unwrap();
    assert_eq!(change.settled.len(), 1);
    assert_eq!(stopped_for(&run), &StopReason::Repetition { tool: "t".into() });
    validate_history(run.messages()).unwrap();
}

#[test]
fn one_answer_that_repeats_itself_is_told_before_the_run_is_stopped() {
    let mut run = run(RunLimits::new().identical_calls(2));
    let change = run.apply(answer("", vec![call("", "t", json!({})); 5])).unwrap();
    assert_eq!((ready_ids(&run).len(), change.settled.len()), (2, 0));
    answer_all(&mut run);
    assert!(matches!(run.step(), RunStep::CallModel(_)));
    run.apply(answer("", vec![call("", "t", json!({}))])).unwrap();
    assert_eq!(stopped_for(&run), &StopReason::Repetition { tool: "t".into() });
    validate_history(run.messages()).unwrap();
}

#[test]
fn arguments_of_any_depth_leave_a_snapshot_that_can_be_read() {
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({"a": [inner]}));
    for (depth, runs) in [(30, true), (32, true), (33, false), (60, false)] {
        let mut run = run(RunLimits::new());
        run.apply(answer("", vec![call("a", "t", nested(depth))])).unwrap();
        assert_eq!(ready_ids(&run).len(), usize::from(runs), "{depth}");
        answer_all(&mut run);
        assert_eq!(AgentRun::from_json(&run.to_json().unwrap()).unwrap(), run);
    }
}

#[test]
fn an_answer_ends_the_run_by_what_it_is() {
    let said = |text: &str, reason| {
        let mut run = run(RunLimits::new());
        let mut answer = ChatResponse::new(reason);
        answer.text = text.into();
        run.apply(RunInput::ModelAnswered(answer)).unwrap();
        validate_history(run.messages()).unwrap();
        run.end().cloned().expect("an answer ends the run")
    };
    assert_eq!(said("a", FinishReason::Stop), RunEnd::Answered);
    assert_eq!(said("a", FinishReason::ToolCalls), RunEnd::Answered);
    assert_eq!(said("a", FinishReason::Length), RunEnd::Truncated);
    assert_eq!(said("", FinishReason::Length), RunEnd::Truncated);
    assert_eq!(said("a", FinishReason::Refused), RunEnd::Refused);
    assert_eq!(said(" \n", FinishReason::Stop), RunEnd::Stopped(StopReason::EmptyAnswer));
    assert_eq!(said("a", FinishReason::ContentFilter), RunEnd::Stopped(StopReason::ContentFilter));
}

#[test]
fn a_stop_answers_every_call_and_does_not_claim_to_know_what_became_of_those_under_way() {
    let mut run = run(RunLimits::new());
    let calls = ["a", "b", "c", "d"].map(|id| call(id, "t", json!({ "for": id })));
    run.apply(answer("", calls.to_vec())).unwrap();
    run.apply(started("a", Repeat::Never)).unwrap();
    run.apply(started("b", Repeat::Keyed)).unwrap();
    run.apply(RunInput::ToolDeferred { call_id: "c".into(), waits_for: Deferral::Approval, arguments: None })
        .unwrap();
    run.apply(settled("a", "A")).unwrap();
    let stop = StopReason::Context { kind: ErrorKind::Cancelled, message: "the run was cancelled".into() };
    let change = run.apply(RunInput::Stop(stop)).unwrap();
    let told = contents(&change.settled);
    assert!(told[0].starts_with("outcome unknown"), "{told:?}");
    assert_eq!(told[1..], ["not run: the run was cancelled"; 2]);
    validate_history(run.messages()).unwrap();
    assert_eq!(run.apply(settled("b", "B")).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn after_a_crash_keyed_calls_are_made_again_under_their_key_and_others_never() {
    let mut run = run(RunLimits::new());
    let calls = ["a", "b", "c"].map(|id| call(id, "t", json!({ "for": id })));
    run.apply(answer("", calls.to_vec())).unwrap();
    let RunStep::RunTools(ready) = run.step() else { panic!("tools are next") };
    let changed = Some(json!({"for": "somebody else"}));
    let start =
        RunInput::ToolStarted { call_id: "a".into(), arguments: changed.clone(), repeat: Repeat::Keyed };
    run.apply(start).unwrap();
    run.apply(started("b", Repeat::Never)).unwrap();
    let mut run = AgentRun::from_json(&run.to_json().unwrap()).unwrap();
    run.apply(RunInput::Resumed).unwrap();
    let RunStep::RunTools(again) = run.step() else { panic!("tools are next") };
    assert_eq!(again.iter().map(|ready| ready.call.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!((&again[0].key, &again[1].key), (&ready[0].key, &ready[2].key));
    assert_eq!((again[0].decision, Some(again[0].call.arguments.clone())), (Decision::Restarted, changed));
    answer_all(&mut run);
    let Part::ToolResult(unknown) = &run.added()[1].parts[1] else { panic!("a result") };
    assert!(unknown.is_error && unknown.content.starts_with("outcome unknown"));
}

#[test]
fn approval_and_execution_elsewhere_are_resolved_from_outside() {
    let mut run = run(RunLimits::new());
    let ids = ["a", "b", "c", "d"];
    run.apply(answer("", ids.map(|id| call(id, "t", json!({ "for": id }))).to_vec())).unwrap();
    for (id, waits_for) in ids.into_iter().zip([Deferral::Approval, Deferral::Approval, Deferral::Result]) {
        run.apply(RunInput::ToolDeferred { call_id: id.into(), waits_for, arguments: None }).unwrap();
    }
    run.apply(settled("d", "D")).unwrap();
    let RunStep::AwaitResolutions(waiting) = run.step() else { panic!("the run waits") };
    assert_eq!(waiting.len(), 3);
    let resolve = |run: &mut AgentRun, id: &str, resolution| {
        run.apply(RunInput::Resolved { call_id: id.into(), resolution })
    };
    assert!(resolve(&mut run, "c", Resolution::approve()).unwrap_err().is_invalid_input());
    assert!(resolve(&mut run, "x", Resolution::approve()).unwrap_err().is_invalid_input());
    let arguments = Some(json!({"for": "e"}));
    resolve(&mut run, "a", Resolution::Approve { arguments: arguments.clone() }).unwrap();
    resolve(&mut run, "b", Resolution::deny("too dear")).unwrap();
    resolve(&mut run, "c", Resolution::returned("C")).unwrap();
    assert_eq!(resolve(&mut run, "c", Resolution::returned("C")).unwrap_err().kind(), ErrorKind::Conflict);
    let RunStep::RunTools(ready) = run.step() else { panic!("the approved call is next") };
    assert_eq!((ready.len(), ready[0].decision), (1, Decision::Approved));
    assert_eq!(Some(ready[0].call.arguments.clone()), arguments);
    run.apply(started("a", Repeat::Never)).unwrap();
    assert_eq!(contents(&run.apply(settled("a", "A")).unwrap().settled), ["A", "denied: too dear", "C"]);
    assert!(matches!(run.step(), RunStep::CallModel(_)));
}

#[test]
fn calls_that_providers_would_refuse_are_put_right() {
    let mut run = run(RunLimits::new());
    let odd = vec![
        call("", "search", json!({})),
        call("x", "größe/../;", json!("{\"broken\": ")),
        call("x", "", json!([1, 2])),
    ];
    let asked = run.apply(answer("", odd)).unwrap().asked;
    assert_eq!(asked[1].name, "gr__e_____");
    assert_eq!(asked[1].arguments, json!({"arguments_that_are_no_object": "{\"broken\": "}));
    assert_eq!(asked[2].name, "unnamed");
    assert_eq!(ready_ids(&run), [asked[0].id.as_str()], "what has no object of arguments is not run");
    answer_all(&mut run);
    validate_history(run.messages()).unwrap();
}

#[test]
fn snapshots_of_another_version_and_damaged_ones_are_told_apart() {
    let json = run(RunLimits::new()).to_json().unwrap();
    let newer = json.replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(AgentRun::from_json(&newer).unwrap_err().kind(), ErrorKind::Mismatch);
    let future = r#"{"version": 9, "all": "different"}"#;
    assert_eq!(AgentRun::from_json(future).unwrap_err().kind(), ErrorKind::Mismatch);
    let nowhere = json.replacen("\"began\":1", "\"began\":7", 1);
    let blank = json.replacen("hello", " ", 1);
    for damaged in ["", "{}", "null", r#"{"version": 1}"#, &json[..json.len() - 1], &nowhere, &blank] {
        assert_eq!(AgentRun::from_json(damaged).unwrap_err().kind(), ErrorKind::Corrupt, "{damaged}");
    }
}

/// One input, as far as it can be made up without knowing the run.
#[derive(Debug, Clone)]
enum Move {
    Answer { text: usize, calls: Vec<(usize, usize, usize)>, reason: FinishReason, tokens: u64 },
    Interrupt { text: usize },
    Start { which: usize, keyed: bool },
    Settle { which: usize, is_error: bool },
    Fail { which: usize },
    Defer { which: usize, waits_for: Deferral },
    Resolve { which: usize, how: usize },
    Resume,
    Elapse { ms: u64 },
    Stop,
}

const TEXTS: [&str; 4] = ["", " \n", "let me see", "🙂"];
const IDS: [&str; 4] = ["", "a", "b", "call_1"];
const NAMES: [&str; 4] = ["search", "", "größe/..", "write"];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    use FinishReason::{ContentFilter, Length, Refused, Stop, ToolCalls};
    let reasons =
        prop::sample::select(vec![Stop, ToolCalls, ToolCalls, ToolCalls, Length, Refused, ContentFilter]);
    let calls = prop::collection::vec((0..4usize, 0..4usize, 0..4usize), 0..5);
    let deferral = prop::sample::select(vec![Deferral::Approval, Deferral::Result]);
    let one = prop_oneof![
        6 => (0..4usize, calls, reasons, 0..300u64)
            .prop_map(|(text, calls, reason, tokens)| Move::Answer { text, calls, reason, tokens }),
        1 => (0..4usize).prop_map(|text| Move::Interrupt { text }),
        8 => (0..6usize, any::<bool>()).prop_map(|(which, keyed)| Move::Start { which, keyed }),
        8 => (0..6usize, any::<bool>()).prop_map(|(which, is_error)| Move::Settle { which, is_error }),
        1 => (0..6usize).prop_map(|which| Move::Fail { which }),
        3 => (0..6usize, deferral).prop_map(|(which, waits_for)| Move::Defer { which, waits_for }),
        4 => (0..6usize, 0..4usize).prop_map(|(which, how)| Move::Resolve { which, how }),
        2 => Just(Move::Resume),
        1 => (0..400u64).prop_map(|ms| Move::Elapse { ms }),
        1 => Just(Move::Stop),
    ];
    prop::collection::vec(one, 0..60)
}

fn input(made: Move, asked: &[ToolCall]) -> RunInput {
    // Mostly calls of the last step, sometimes one that does not exist.
    let id = |which: usize| {
        asked.iter().rev().nth(which).map_or_else(|| "nobody".to_owned(), |call| call.id.clone())
    };
    let reason = StopReason::Model { kind: ErrorKind::Unavailable, message: "gone".into() };
    match made {
        Move::Answer { text, calls, reason, tokens } => {
            let mut answer = ChatResponse::new(reason);
            answer.text = TEXTS[text].into();
            let arguments = [json!({}), json!({"q": 1}), json!("{"), json!(null)];
            answer.tool_calls = calls
                .into_iter()
                .map(|(id, name, n)| call(IDS[id], NAMES[name], arguments[n].clone()))
                .collect();
            answer.usage = Usage { input_tokens: tokens, output_tokens: tokens / 2 };
            RunInput::ModelAnswered(answer)
        }
        Move::Interrupt { text } => {
            RunInput::ModelInterrupted { text: TEXTS[text].into(), usage: Usage::default(), reason }
        }
        Move::Start { which, keyed } => {
            started(&id(which), if keyed { Repeat::Keyed } else { Repeat::Never })
        }
        Move::Settle { which, is_error } => {
            RunInput::ToolSettled(ToolResult { call_id: id(which), content: "result".into(), is_error })
        }
        Move::Fail { which } => RunInput::ToolFailed { call_id: id(which), reason },
        Move::Defer { which, waits_for } => {
            RunInput::ToolDeferred { call_id: id(which), waits_for, arguments: None }
        }
        Move::Resolve { which, how } => {
            let resolution = match how {
                0 => Resolution::approve(),
                1 => Resolution::Approve { arguments: Some(json!({"q": 2})) },
                2 => Resolution::deny("no"),
                _ => Resolution::returned("done elsewhere"),
            };
            RunInput::Resolved { call_id: id(which), resolution }
        }
        Move::Resume => RunInput::Resumed,
        Move::Elapse { ms } => RunInput::Elapsed { by: Duration::from_millis(ms) },
        Move::Stop => RunInput::Stop(reason),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_inputs_leads_to_a_valid_history_and_one_end(moves in moves()) {
        let limits = RunLimits::new().steps(12).tokens(3000).identical_calls(2).time(Duration::from_secs(2));
        let mut run = run(limits);
        let (mut asked, mut told, mut ends): (Vec<ToolCall>, Vec<ToolResult>, Vec<RunEnd>) = Default::default();
        for made in moves.into_iter().chain([Move::Stop]) {
            let before = run.clone();
            match run.apply(input(made, &asked)) {
                Err(error) => {
                    prop_assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::InvalidInput));
                    prop_assert_eq!(&run, &before, "an input that was refused changed the run");
                }
                Ok(change) => {
                    asked.extend(change.asked);
                    told.extend(change.settled);
                }
            }
            validate_history(run.messages()).unwrap();
            prop_assert_eq!(&AgentRun::from_json(&run.to_json().unwrap()).unwrap(), &run);
            prop_assert_eq!(before.end().is_some() && before.end() != run.end(), false, "an end changed");
            ends.extend(run.end().filter(|_| before.end().is_none()).cloned());
        }
        prop_assert_eq!(ends.len(), 1);
        let ids = |of: &mut dyn Iterator<Item = &str>| { let mut ids: Vec<String> = of.map(Into::into).collect(); ids.sort(); ids };
        let asked_ids = ids(&mut asked.iter().map(|call| call.id.as_str()));
        prop_assert_eq!(&asked_ids, &ids(&mut told.iter().map(|result| result.call_id.as_str())), "each call is answered once");
        let recorded = run.messages().iter().flat_map(|message| &message.parts).filter_map(|part| match part {
            Part::ToolResult(result) => Some(result.call_id.as_str()),
            _ => None,
        });
        prop_assert_eq!(asked_ids, ids(&mut recorded.into_iter()), "each call is in the history");
    }

    #[test]
    fn any_conversation_can_be_mended(parts in prop::collection::vec((0..4usize, 0..4usize, 0..4usize), 0..30)) {
        let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
        let messages: Vec<Message> = parts.chunks(2).enumerate().map(|(at, chunk)| {
            let parts = chunk.iter().map(|&(kind, id, text)| match kind {
                0 => Part::Text { text: TEXTS[text].into() },
                1 => Part::ToolCall(call(IDS[id], NAMES[text], json!("x"))),
                _ => Part::ToolResult(ToolResult { call_id: IDS[id].into(), content: "r".into(), is_error: false }),
            });
            Message { role: roles[(at + chunk[0].1) % 4], parts: parts.collect() }
        }).collect();
        let mended = history::mended(messages.clone());
        validate_history(&mended).unwrap();
        prop_assert_eq!(&history::mended(mended.clone()), &mended, "what is valid is left alone");
        if validate_history(&messages).is_ok() {
            prop_assert_eq!(mended, messages);
        }
    }
}
