//! Whatever stops a run stops everything behind it at once, wherever it is, and leaves a valid history.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentEventKind, ChatEvent, ErrorKind, MemoryCheckpointer, RunContext, RunLimits, Tool, ToolAction,
    ToolAgent,
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::tooling::*;

/// Where the run is when it is stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    BeforeTheFirstToken,
    AmidTheAnswer,
    InAHookBeforeTheModel,
    InAHookBeforeATool,
    AmidParallelTools,
    BeforeTheTokenAfterTools,
}

const PLACES: [Place; 6] = [
    Place::BeforeTheFirstToken,
    Place::AmidTheAnswer,
    Place::InAHookBeforeTheModel,
    Place::InAHookBeforeATool,
    Place::AmidParallelTools,
    Place::BeforeTheTokenAfterTools,
];

/// What stops it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    Cancelled,
    ParentCancelled,
    Deadline,
    TimeLimit,
    StreamDropped,
}

const CAUSES: [Cause; 5] =
    [Cause::Cancelled, Cause::ParentCancelled, Cause::Deadline, Cause::TimeLimit, Cause::StreamDropped];

/// When the run is stopped.
const MOMENT: Duration = Duration::from_secs(3);

struct Case {
    model: Arc<ScriptedModel>,
    log: Arc<Log>,
    agent: ToolAgent,
}

fn case(place: Place, cause: Cause) -> Case {
    let half = ChatEvent::Delta { text: "half an".into() };
    let slow = |name: &str| call(name, "greet", json!({"name": name, "ms": 10_000}));
    let quick = call("quick", "greet", json!({"name": "quick"}));
    let hang = || ScriptedTurn::events([]).then_hang();
    let turns = match place {
        Place::BeforeTheFirstToken => vec![hang()],
        Place::AmidTheAnswer => vec![ScriptedTurn::events([half]).then_hang()],
        Place::AmidParallelTools => vec![asks([quick, slow("one"), slow("two"), slow("three")])],
        _ => vec![asks([quick]), hang()],
    };
    let (model, log) = (model(turns), Arc::<Log>::default());
    let mut builder = ToolAgent::builder(model.clone())
        .tool(Arc::new(greet(&log)) as Arc<dyn Tool>)
        .parallel_tools(3)
        .checkpoints(Arc::new(MemoryCheckpointer::new()));
    if cause == Cause::TimeLimit {
        builder = builder.limits(RunLimits::new().time(MOMENT));
    }
    let open = Arc::clone(&log);
    builder = match place {
        Place::InAHookBeforeTheModel => builder.before_model(move |_, ctx| {
            let open = open.begin("hook", &ctx);
            async move {
                std::future::pending::<()>().await;
                drop(open);
                Ok(agentkit_core::RequestPatch::default())
            }
        }),
        Place::InAHookBeforeATool => builder.before_tool(move |_, ctx| {
            let open = open.begin("hook", &ctx);
            async move {
                std::future::pending::<()>().await;
                drop(open);
                Ok(ToolAction::Run)
            }
        }),
        _ => builder,
    };
    Case { model, log, agent: builder.build().unwrap() }
}

async fn stopped(place: Place, cause: Cause) {
    let what = format!("{place:?}, {cause:?}");
    let Case { model, log, agent } = case(place, cause);
    let parent = RunContext::new();
    let mut ctx = parent.child();
    if cause == Cause::Deadline {
        ctx = ctx.with_timeout(MOMENT);
    }
    let begun = Instant::now();
    let mut stream = agent.run(input(), &ctx).await.unwrap();
    let mut events: Vec<AgentEventKind> = Vec::new();
    let reading = async {
        while let Some(event) = stream.next().await {
            events.push(event.kind);
        }
    };
    match cause {
        Cause::StreamDropped => {
            assert!(timeout(MOMENT, reading).await.is_err(), "{what}: the run ended by itself");
            drop(stream);
        }
        Cause::Cancelled | Cause::ParentCancelled => {
            let stop = async {
                tokio::time::sleep(MOMENT).await;
                if cause == Cause::Cancelled { ctx.cancel() } else { parent.cancel() }
            };
            tokio::join!(reading, stop);
        }
        Cause::Deadline | Cause::TimeLimit => reading.await,
    }
    // The clock is paused and only moves when everything waits: no time passed between the stop and the end.
    assert_eq!(begun.elapsed(), MOMENT, "{what}");
    assert_eq!(log.open.load(Ordering::SeqCst), 0, "{what}: a tool or hook is still alive");
    assert_eq!(model.open_streams(), 0, "{what}: the model still speaks");
    valid_requests(&model);
    if cause == Cause::StreamDropped {
        return;
    }
    well_formed(&events);
    let expected = if matches!(cause, Cause::Deadline | Cause::TimeLimit) {
        ErrorKind::DeadlineExceeded
    } else {
        ErrorKind::Cancelled
    };
    let (kind, message) = failure(&events);
    assert_eq!(kind, expected, "{what}: {message}");
    assert_eq!(cause == Cause::TimeLimit, message.contains("time limit of 3000 ms"), "{what}: {message}");
    if place == Place::AmidParallelTools {
        let contents = contents(&events);
        assert_eq!(contents[0], "hello quick", "{what}");
        assert!(
            contents[1..].iter().all(|content| content.starts_with("outcome unknown")),
            "{what}: {contents:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_at_once_wherever_it_is_and_whatever_stops_it() {
    for place in PLACES {
        for cause in CAUSES {
            stopped(place, cause).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn blocking_work_of_a_tool_sees_that_the_run_was_stopped() {
    let (started, begun) = tokio::sync::oneshot::channel();
    let (ended, end) = tokio::sync::oneshot::channel();
    let channels = Arc::new(std::sync::Mutex::new(Some((started, ended))));
    let tool = agentkit_core::FunctionTool::new("spin", "Works hard.", move |_: Named, ctx: RunContext| {
        let channels = Arc::clone(&channels);
        async move {
            let (started, ended) = channels.lock().unwrap().take().unwrap();
            let work = move |ctx: &RunContext| {
                started.send(()).unwrap();
                while ctx.check().is_ok() {
                    std::hint::spin_loop();
                }
                ended.send(()).unwrap();
                Ok(())
            };
            ctx.run_blocking(work).await
        }
    });
    let model = model([asks([call("a", "spin", json!({"name": "x"}))])]);
    let agent = agent(&model, [tool]);
    let ctx = RunContext::new();
    let run = agent.run(input(), &ctx).await.unwrap();
    let stop = async {
        begun.await.unwrap();
        ctx.cancel();
    };
    let (reply, ()) = tokio::join!(run.collect(), stop);
    assert_eq!(reply.unwrap_err().kind(), ErrorKind::Cancelled);
    end.await.expect("the blocking work saw that it has to stop");
}
