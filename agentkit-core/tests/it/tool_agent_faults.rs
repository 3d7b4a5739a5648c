//! Thousands of scripted conversations with random faults, read as a stream and as a reply.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentEventKind, AgentReply, ChatEvent, Error, ErrorKind, FinishReason, FunctionTool, Result,
    RunContext, RunLimits, ToolAgent, Usage,
};
use futures_util::FutureExt;
use serde_json::json;

use crate::tooling::*;

/// How many conversations are held.
const CONVERSATIONS: u64 = 10_000;

/// A sequence of numbers that is the same every time (`SplitMix64`, Steele et al. 2014).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

fn random_call(dice: &mut Dice) -> ChatEvent {
    let id = *dice.pick(&["", "a", "a", "b", "c"]);
    let name = *dice.pick(&["greet", "greet", "greet", "moody", "missing", "", "größe"]);
    let who = *dice.pick(&["Ada", "Bob"]);
    let arguments = match dice.below(8) {
        0 => json!({}),
        1 => json!("{\"name\": "),
        2 => json!([who]),
        3 => json!({"name": who, "ms": 99_999}),
        4 => json!({"name": who, "ms": dice.below(20)}),
        _ => json!({"name": format!("{who} {}", dice.below(50))}),
    };
    ChatEvent::ToolCall(call(id, name, arguments))
}

fn random_event(dice: &mut Dice) -> ChatEvent {
    let reasons = [
        FinishReason::Stop,
        FinishReason::ToolCalls,
        FinishReason::Length,
        FinishReason::ContentFilter,
        FinishReason::Refused,
    ];
    match dice.below(10) {
        0..=3 => ChatEvent::Delta { text: (*dice.pick(&["", " ", "well", " yes. ", "🙂"])).into() },
        4..=7 => random_call(dice),
        8 => ChatEvent::Usage(Usage { input_tokens: dice.below(90), output_tokens: dice.below(30) }),
        _ => ChatEvent::Finished { reason: *dice.pick(&reasons) },
    }
}

/// Mostly what models do, in any order, and sometimes what they must not.
fn random_turn(dice: &mut Dice) -> ScriptedTurn {
    let fault = || Error::new(ErrorKind::Unavailable, "the connection was reset");
    if dice.below(40) == 0 {
        return ScriptedTurn::refuse(fault());
    }
    let events: Vec<_> = (0..dice.below(5)).map(|_| random_event(dice)).collect();
    let turn = ScriptedTurn::events(events);
    match dice.below(20) {
        0 => turn.then_fail(fault()),
        1 => turn,
        _ => turn
            .then(random_call(dice))
            .then(ChatEvent::Usage(Usage { input_tokens: 10, output_tokens: 3 }))
            .then(ChatEvent::Finished { reason: FinishReason::ToolCalls }),
    }
}

/// Fails in every way a tool can, by what it is called with.
fn moody(log: &Arc<Log>) -> FunctionTool {
    let log = Arc::clone(log);
    FunctionTool::new("moody", "Does as it likes.", move |who: Named, ctx| {
        let open = log.begin(&who.name, &ctx);
        async move {
            let _open = open;
            tokio::task::yield_now().await;
            match who.name.len() % 5 {
                0 => Err(Error::invalid_input("not like this")),
                1 => Err(Error::new(ErrorKind::Unavailable, "not today")),
                2 => Err(Error::not_found("nobody of that name")),
                3 if who.ms > 0 => panic!("too much"),
                _ => Ok(json!({"greeted": who.name})),
            }
        }
    })
}

struct Conversation {
    model: Arc<ScriptedModel>,
    log: Arc<Log>,
    agent: ToolAgent,
    ctx: RunContext,
}

fn conversation(seed: u64) -> Conversation {
    let mut dice = Dice(seed);
    let turns: Vec<_> = (0..=dice.below(6)).map(|_| random_turn(&mut dice)).collect();
    let end = if dice.below(2) == 0 { ScriptedTurn::text("the end") } else { random_turn(&mut dice) };
    let model = model(turns.into_iter().chain([end, ScriptedTurn::text("the very end")]));
    let log = Arc::<Log>::default();
    let mut limits = RunLimits::new().steps(u32::try_from(1 + dice.below(8)).unwrap());
    if dice.below(4) == 0 {
        limits = limits.tokens(dice.below(200));
    }
    let agent = ToolAgent::builder(model.clone())
        .tool(Arc::new(greet(&log)))
        .tool(Arc::new(moody(&log)))
        .parallel_tools(usize::try_from(1 + dice.below(3)).unwrap())
        .tool_timeout(std::time::Duration::from_millis(15))
        .limits(limits)
        .build()
        .unwrap();
    let ctx = match dice.below(8) {
        0 => RunContext::new().with_token_budget(dice.below(100)),
        1 => RunContext::new().with_timeout(std::time::Duration::from_millis(dice.below(30))),
        _ => RunContext::new(),
    };
    Conversation { model, log, agent, ctx }
}

/// The reply that a reader of the stream would put together.
fn gathered(events: &[AgentEventKind]) -> Result<AgentReply> {
    let mut reply = AgentReply::default();
    for event in events {
        match event.clone() {
            AgentEventKind::Started { trace_id, session_id } => {
                (reply.trace_id, reply.session_id) = (trace_id, session_id);
            }
            AgentEventKind::Delta { text } => reply.answer.push_str(&text),
            AgentEventKind::Usage(usage) => reply.usage = usage,
            AgentEventKind::Done { outcome } => reply.outcome = outcome,
            AgentEventKind::Error { kind, message } => return Err(Error::new(kind, message)),
            _ => {}
        }
    }
    Ok(reply)
}

/// The same conversation, not streamed: the reply is what was streamed, and the model is asked the same.
async fn blocking_equals(seed: u64, events: &[AgentEventKind], model: &ScriptedModel) {
    let same = conversation(seed);
    let reply = same.agent.run(input(), &same.ctx).await.unwrap().collect().await;
    let of = |reply: &Result<AgentReply>| match reply {
        Ok(reply) => Ok((reply.answer.clone(), reply.outcome, reply.usage)),
        Err(error) => Err((error.kind(), error.message().to_owned())),
    };
    assert_eq!(of(&reply), of(&gathered(events)), "conversation {seed}: the reply is not what was streamed");
    assert_eq!(same.model.requests(), model.requests(), "conversation {seed} is not the same twice");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_conversations_with_random_faults_end_once_with_a_valid_history() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut ends = std::collections::BTreeMap::<String, u64>::new();
    for seed in 0..CONVERSATIONS {
        let Conversation { model, log, agent, ctx } = conversation(seed);
        let check = async {
            let events = events(&agent, &ctx).await;
            well_formed(&events);
            valid_requests(&model);
            assert_eq!((model.open_streams(), log.open.load(Ordering::SeqCst)), (0, 0), "something is left");
            events
        };
        let Ok(events) = std::panic::AssertUnwindSafe(check).catch_unwind().await else {
            panic!("conversation {seed} breaks a rule");
        };
        let end = match events.last() {
            Some(AgentEventKind::Error { kind, .. }) => format!("{kind:?}"),
            Some(AgentEventKind::Done { outcome }) => format!("{outcome:?}"),
            other => format!("{other:?}"),
        };
        *ends.entry(end).or_default() += 1;
        blocking_equals(seed, &events, &model).await;
    }
    drop(std::panic::take_hook());
    println!("{CONVERSATIONS} conversations ended: {ends:?}");
    for expected in
        ["Answered", "Truncated", "Refused", "Unavailable", "BudgetExhausted", "DeadlineExceeded", "Internal"]
    {
        assert!(ends.get(expected).is_some_and(|count| *count > 10), "hardly any ended {expected}: {ends:?}");
    }
}
