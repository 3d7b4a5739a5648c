//! `kill -9` of a process that carries on a run: a keyed tool takes effect once, any other is started at most once.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{
    Agent, AgentInput, AgentRun, Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, Checkpointer,
    FinishReason, FunctionTool, ModelInfo, Part, Repeat, Result, Role, RunContext, RunEnd, RunId, RunKey,
    TenantScope, ToolAgent, ToolCall, ToolPolicy, Usage, validate_history,
};
use agentkit_rag::sqlite::SqliteCheckpointer;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Set for the process that is to be killed: the folder of its files, and the run it carries on.
const FOLDER: &str = "AGENTKIT_RUN_FOLDER";
const RUN: &str = "AGENTKIT_RUN_NAME";
/// How many kills; the default keeps the test short.
const KILLS: &str = "AGENTKIT_RUN_KILLS";
/// How often the model asks for tools, and how many pairs of calls each time.
const STEPS: usize = 6;
const PAIRS: usize = 2;

/// Asks for the calls of the next step until all have been made: it knows where it is from the history alone.
struct Planner(ModelInfo);

#[async_trait]
impl ChatModel for Planner {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn stream(&self, request: ChatRequest, _: &RunContext) -> Result<ChatStream> {
        let step = request.messages.iter().filter(|message| message.role == Role::Tool).count();
        let calls = (0..if step < STEPS { PAIRS } else { 0 }).flat_map(|pair| {
            ["charge", "send"].map(|tool| {
                let arguments = json!({"order": format!("{tool}-{step}-{pair}")});
                ChatEvent::ToolCall(ToolCall { id: String::new(), name: tool.into(), arguments })
            })
        });
        let calls: Vec<_> = calls.collect();
        let (said, reason) = if calls.is_empty() {
            (vec![ChatEvent::Delta { text: "all done".into() }], FinishReason::Stop)
        } else {
            (calls, FinishReason::ToolCalls)
        };
        let usage = Usage { input_tokens: 0, output_tokens: 1 };
        let end = [ChatEvent::Usage(usage), ChatEvent::Finished { reason }];
        Ok(ChatStream::new(futures_util::stream::iter(said.into_iter().chain(end).map(Ok))))
    }
}

#[derive(Deserialize, JsonSchema)]
struct Order {
    /// Which order is meant.
    order: String,
}

/// A file that takes lines of several processes, each whole.
#[derive(Clone)]
struct Lines(PathBuf);

impl Lines {
    fn add(&self, line: &str) {
        let mut file: File = OpenOptions::new().create(true).append(true).open(&self.0).expect("it opens");
        file.write_all(format!("{line}\n").as_bytes()).expect("it takes a line");
    }

    fn all(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
    }
}

/// What the tools of one run leave behind.
struct Effects {
    /// Orders that were charged, as key and order; one line is one effect.
    charged: Lines,
    /// Calls of the tool that charges.
    attempts: Lines,
    /// Orders whose sending was started, and those whose sending was over.
    sent: Lines,
    over: Lines,
}

impl Effects {
    fn of(folder: &Path, run: &str) -> Self {
        let lines = |what: &str| Lines(folder.join(format!("{run}.{what}")));
        Self {
            charged: lines("charged"),
            attempts: lines("attempts"),
            sent: lines("sent"),
            over: lines("over"),
        }
    }
}

/// Charges an order once for each key, as a payment service would.
fn charge(effects: &Effects) -> FunctionTool {
    let (charged, attempts) = (effects.charged.clone(), effects.attempts.clone());
    let tool = FunctionTool::new("charge", "Charges an order.", move |order: Order, ctx: RunContext| {
        let (charged, attempts) = (charged.clone(), attempts.clone());
        async move {
            let key = ctx.idempotency_key().expect("a call has a key").to_owned();
            attempts.add(&key);
            tokio::time::sleep(Duration::from_millis(2)).await;
            if !charged.all().iter().any(|line| line.starts_with(&format!("{key} "))) {
                charged.add(&format!("{key} {}", order.order));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok(format!("charged {}", order.order))
        }
    });
    tool.policy(ToolPolicy::new().repeat(Repeat::Keyed))
}

/// Sends an order: whoever calls it twice sends twice.
fn send(effects: &Effects) -> FunctionTool {
    let (sent, over) = (effects.sent.clone(), effects.over.clone());
    FunctionTool::new("send", "Sends an order.", move |order: Order, _| {
        let (sent, over) = (sent.clone(), over.clone());
        async move {
            sent.add(&order.order);
            tokio::time::sleep(Duration::from_millis(4)).await;
            over.add(&order.order);
            Ok(format!("sent {}", order.order))
        }
    })
}

async fn agent(folder: &Path, run: &str) -> (ToolAgent, Arc<SqliteCheckpointer>) {
    let store = Arc::new(SqliteCheckpointer::open(&folder.join("runs.sqlite")).await.expect("it opens"));
    let abilities = Capabilities::default().with_tools();
    let model = Planner(ModelInfo::new("test", "planner", 8192).capabilities(abilities));
    let effects = Effects::of(folder, run);
    let agent = ToolAgent::builder(Arc::new(model))
        .tool(Arc::new(charge(&effects)))
        .tool(Arc::new(send(&effects)))
        .parallel_tools(3)
        .checkpoints(store.clone())
        .build();
    (agent.expect("a sound agent"), store)
}

fn key(run: &str) -> RunKey {
    RunKey::new(TenantScope::local(), RunId::new(run).expect("a valid name"))
}

/// Begins the run, or takes it up where it was written down.
async fn carry_on(agent: &ToolAgent, run: &str) {
    let ctx = RunContext::new();
    let stream = match agent.resume(&key(run), vec![], &ctx).await {
        Err(unknown) if unknown.is_not_found() => {
            let input =
                AgentInput::new(TenantScope::local(), "handle the orders").run(key(run).run().clone());
            agent.run(input, &ctx).await
        }
        resumed => resumed,
    };
    let reply = stream.expect("the run goes on").collect().await.expect("the run ends well");
    assert_eq!(reply.answer, "all done");
}

/// Not a test of its own: the process that the test below kills.
#[test]
fn run_to_be_killed() {
    let variable = |name| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let (Some(folder), Some(run)) = (variable(FOLDER), variable(RUN)) else { return };
    runtime().block_on(async {
        let (agent, _store) = agent(Path::new(&folder), &run).await;
        println!("\nbegin");
        carry_on(&agent, &run).await;
    });
}

#[test]
fn tools_of_a_run_that_is_killed_take_effect_once_or_are_reported_as_unknown() {
    let kills =
        std::env::var_os(KILLS).and_then(|kills| kills.into_string().ok()?.parse().ok()).unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    let (mut killed, mut runs) = (0, 0);
    let mut seen = Seen::default();
    while killed < kills {
        let run = format!("run-{runs}");
        while killed < kills && kill_after(folder.path(), &run, moment(killed + runs)) {
            killed += 1;
        }
        seen.add(&runtime().block_on(finished(folder.path(), &run)));
        runs += 1;
    }
    println!("{killed} kills in {runs} runs of {} calls: {seen:?}", 2 * PAIRS * STEPS);
    if kills >= 50 {
        assert!(seen.unknown > 0 && seen.charged_again > 0, "no kill hit a tool: {seen:?}");
    }
}

/// A different moment each time, up to somewhat more than a run takes.
fn moment(n: u32) -> Duration {
    Duration::from_micros(u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 47)
}

/// Lets a process carry on the run and kills it; says whether it was still at it.
fn kill_after(folder: &Path, run: &str, after: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", "durable::run_to_be_killed", "--nocapture"])
        .env(FOLDER, folder)
        .env(RUN, run)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the test binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == "begin")), "the process begins");
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(after);
    child.kill().expect("the process is ours");
    let ended = child.wait().expect("it ends");
    assert!(ended.success() || ended.code().is_none(), "the run failed: {ended}");
    !ended.success()
}

/// What the kills have hit.
#[derive(Debug, Default)]
struct Seen {
    /// Calls whose outcome was reported as unknown.
    unknown: usize,
    /// Those of them whose tool had begun, and not ended.
    amid: usize,
    /// Calls that were made again under the same key.
    charged_again: usize,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.unknown += other.unknown;
        self.amid += other.amid;
        self.charged_again += other.charged_again;
    }
}

/// Brings the run to its end and compares what it says with what its tools did.
async fn finished(folder: &Path, run: &str) -> Seen {
    let (agent, store) = agent(folder, run).await;
    carry_on(&agent, run).await;
    let stored = store.load(&key(run), &RunContext::new()).await.unwrap().unwrap();
    let state = AgentRun::from_json(&stored.state).unwrap();
    assert_eq!(state.end(), Some(&RunEnd::Answered));
    validate_history(state.messages()).unwrap();
    let results = results(&state);
    assert_eq!(results.len(), 2 * PAIRS * STEPS, "each call has one result");

    let effects = Effects::of(folder, run);
    let (charged, sent, over) = (effects.charged.all(), effects.sent.all(), effects.over.all());
    let mut seen = Seen { charged_again: effects.attempts.all().len() - charged.len(), ..Seen::default() };
    for (order, result) in results {
        let count = |lines: &[String]| lines.iter().filter(|line| line.ends_with(&order)).count();
        if order.starts_with("charge") {
            assert_eq!((count(&charged), result.as_str()), (1, format!("charged {order}").as_str()));
        } else if result == format!("sent {order}") {
            assert_eq!((count(&sent), count(&over)), (1, 1), "{order}");
        } else {
            assert!(result.starts_with("outcome unknown"), "{order}: {result}");
            assert!(count(&sent) <= 1, "{order} was sent {} times", count(&sent));
            seen.unknown += 1;
            seen.amid += count(&sent) - count(&over);
        }
    }
    seen
}

/// What the model was told of each order.
fn results(run: &AgentRun) -> BTreeMap<String, String> {
    let parts = || run.messages().iter().flat_map(|message| &message.parts);
    let orders: BTreeMap<&str, String> = parts()
        .filter_map(|part| match part {
            Part::ToolCall(call) => Some((call.id.as_str(), call.arguments["order"].as_str()?.to_owned())),
            _ => None,
        })
        .collect();
    let told = parts().filter_map(|part| match part {
        Part::ToolResult(result) => Some((orders[result.call_id.as_str()].clone(), result.content.clone())),
        _ => None,
    });
    told.collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}
