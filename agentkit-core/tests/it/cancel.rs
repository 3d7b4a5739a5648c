//! Whatever ends a run closes the sockets behind it at once: measured at an upstream that sees when its client leaves.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::model::openai::{OpenAiEmbedder, OpenAiEmbedderOptions, OpenAiModel, OpenAiOptions};
use agentkit_core::testing::ScriptedTurn;
use agentkit_core::{
    Agent, AgentEventKind, AgentStream, ChatRequest, EmbedSide, Embedder, ErrorKind, FunctionTool, Message,
    RunContext, ToolAgent, complete,
};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::server::{Connection, Server};
use crate::tooling::*;

/// Where the run is when it is ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    BeforeTheAnswerBegins,
    BeforeTheFirstToken,
    AmidTheAnswer,
    InATool,
    InAToolThatIsAnAgent,
    InARetrieval,
}

const PLACES: [Place; 6] = [
    Place::BeforeTheAnswerBegins,
    Place::BeforeTheFirstToken,
    Place::AmidTheAnswer,
    Place::InATool,
    Place::InAToolThatIsAnAgent,
    Place::InARetrieval,
];

/// What ends it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    Stop,
    Disconnect,
    Deadline,
    Budget,
    Shutdown,
}

const CAUSES: [Cause; 5] = [Cause::Stop, Cause::Disconnect, Cause::Deadline, Cause::Budget, Cause::Shutdown];

/// The goal is a tenth of it; a busy machine is given more.
const BOUND: Duration = Duration::from_secs(1);
/// How long a run may take that is ended by its deadline.
const TIMEOUT: Duration = Duration::from_millis(150);

fn model_at(server: &Server) -> Arc<OpenAiModel> {
    Arc::new(OpenAiModel::new(OpenAiOptions::new(server.base_url(), "m")).unwrap())
}

/// An agent that asks the server at once, by way of whatever the place says.
fn agent_at(place: Place, server: &Server) -> ToolAgent {
    let asks_tool = || model([asks([call("1", "work", json!({"name": "x"}))]), ScriptedTurn::text("done")]);
    let work = match place {
        Place::InATool | Place::InAToolThatIsAnAgent => {
            let (inner, direct) = (model_at(server), place == Place::InATool);
            FunctionTool::new("work", "Asks another model.", move |_: Named, ctx: RunContext| {
                let inner = inner.clone();
                async move {
                    if direct {
                        let request = ChatRequest::new(vec![Message::user("hello")]);
                        return Ok(complete(&*inner, request, &ctx).await?.text);
                    }
                    let agent = ToolAgent::builder(inner).build()?;
                    Ok(agent.run(input(), &ctx).await?.collect().await?.answer)
                }
            })
        }
        Place::InARetrieval => {
            let options = OpenAiEmbedderOptions::new(server.base_url(), "e", 3);
            let embedder = Arc::new(OpenAiEmbedder::new(options).unwrap());
            FunctionTool::new("work", "Finds passages.", move |what: Named, ctx: RunContext| {
                let embedder = Arc::clone(&embedder);
                async move { Ok(embedder.embed(EmbedSide::Query, vec![what.name], &ctx).await?.len()) }
            })
        }
        _ => return ToolAgent::builder(model_at(server)).build().unwrap(),
    };
    agent(&asks_tool(), [work])
}

/// Brings the answer as far as the place says.
async fn answer(place: Place, connection: &mut Connection, heard: &Notify) {
    if matches!(place, Place::BeforeTheFirstToken | Place::AmidTheAnswer) {
        connection.begin().await;
    }
    if place == Place::AmidTheAnswer {
        connection.send(b"data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n").await;
        heard.notified().await;
    }
}

/// Reads events until the run is over, or its reader leaves.
async fn read(mut stream: AgentStream, heard: Arc<Notify>, leaves: Arc<Notify>) -> Vec<AgentEventKind> {
    let mut events = Vec::new();
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = leaves.notified() => None,
        };
        let Some(event) = next else { return events };
        if matches!(event.kind, AgentEventKind::Delta { .. }) {
            heard.notify_one();
        }
        events.push(event.kind);
    }
}

/// Ends a run and says how long the upstream's socket stayed open after that.
async fn ended(place: Place, cause: Cause) -> Duration {
    let what = format!("{place:?}, {cause:?}");
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let server = Server::start().await;
    let service = RunContext::new();
    let mut ctx = service.child().with_token_budget(100);
    if cause == Cause::Deadline {
        ctx = ctx.with_timeout(TIMEOUT);
    }
    let (heard, leaves) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let agent = agent_at(place, &server);
    let stream = agent.run(input(), &ctx).await.unwrap();
    let reader = tokio::spawn(read(stream, heard.clone(), leaves.clone()));
    let mut connection = server.request().await;
    answer(place, &mut connection, &heard).await;
    let at = match cause {
        Cause::Deadline => {
            let at = Instant::from_std(ctx.deadline().unwrap());
            assert!(Instant::now() < at, "{what}: the machine is too slow for this test");
            at
        }
        _ => Instant::now(),
    };
    match cause {
        Cause::Stop => ctx.cancel(),
        Cause::Disconnect => leaves.notify_one(),
        Cause::Budget => assert!(ctx.spend_tokens(101).is_err()),
        Cause::Shutdown => service.cancel(),
        Cause::Deadline => {}
    }
    timeout(TIMEOUT + BOUND, connection.closed()).await.unwrap_or_else(|_| panic!("{what}: it stays open"));
    let took = at.elapsed();
    let events = reader.await.unwrap();
    drop(agent);
    check_end(&what, cause, &events);
    let gone = async {
        while tasks.num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, gone).await.unwrap_or_else(|_| panic!("{what}: a task is left"));
    took
}

fn check_end(what: &str, cause: Cause, events: &[AgentEventKind]) {
    let expected = match cause {
        Cause::Disconnect => return,
        Cause::Stop | Cause::Shutdown => ErrorKind::Cancelled,
        Cause::Deadline => ErrorKind::DeadlineExceeded,
        Cause::Budget => ErrorKind::BudgetExhausted,
    };
    well_formed(events);
    assert_eq!(failure(events).0, expected, "{what}: {events:?}");
}

#[tokio::test]
async fn ending_a_run_closes_the_sockets_of_models_tools_and_embedders() {
    let mut slowest = Vec::new();
    for place in PLACES {
        for cause in CAUSES {
            let took = ended(place, cause).await;
            assert!(took < BOUND, "{place:?}, {cause:?}: the socket stayed open for {took:?}");
            slowest.push((took, place, cause));
        }
    }
    slowest.sort_by_key(|(took, ..)| std::cmp::Reverse(*took));
    println!("slowest of {}: {:?}", slowest.len(), &slowest[..5]);
}
