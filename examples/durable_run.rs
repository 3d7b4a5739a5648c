//! A run that is killed while a tool works, taken up by another process, and finished after somebody has approved.
//!
//! The program starts itself as the process that is killed. A model that follows a rule stands in for a hosted one.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{
    Agent, AgentInput, AgentReply, Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, Error,
    FinishReason, FunctionTool, Handling, ModelInfo, Outcome, Repeat, Resolution, Result, Role, RunContext,
    RunId, RunKey, TenantScope, ToolAgent, ToolCall, ToolPolicy,
};
use agentkit_rag::sqlite::SqliteCheckpointer;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<()> {
    if let Some(folder) = std::env::args().nth(1) {
        let input =
            AgentInput::new(TenantScope::local(), "Book room 7 and pay for it.").run(key()?.run().clone());
        agent(Path::new(&folder)).await?.run(input, &RunContext::new()).await?.collect().await?;
        return Ok(());
    }
    let folder = std::env::temp_dir().join(format!("agentkit-durable-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| Error::io("make a folder", error))?;
    kill_while_booking(&folder).map_err(|error| Error::io("run the first process", error))?;
    let reply = carry_on(&agent(&folder).await?).await?;
    println!("{}", reply.answer);
    print!("{}", std::fs::read_to_string(folder.join("bookings")).unwrap_or_default());
    std::fs::remove_dir_all(&folder).map_err(|error| Error::io("remove a folder", error))
}

/// Lets another process begin the run, and kills it as soon as its tool has begun.
fn kill_while_booking(folder: &Path) -> std::io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?).arg(folder).stdout(Stdio::piped()).spawn()?;
    let mut lines = child.stdout.take().map(|out| BufReader::new(out).lines()).into_iter().flatten();
    let begun = lines.any(|line| line.is_ok_and(|line| line.starts_with("booking")));
    child.kill()?;
    child.wait()?;
    println!("killed {}", if begun { "while it was booking" } else { "too late" });
    Ok(())
}

/// Takes the run up, and approves what it asks for.
async fn carry_on(agent: &ToolAgent) -> Result<AgentReply> {
    let (key, ctx) = (key()?, RunContext::new());
    let mut answers = Vec::new();
    loop {
        let reply = agent.resume(&key, answers, &ctx).await?.collect().await?;
        if reply.outcome != Outcome::Waiting {
            return Ok(reply);
        }
        println!(
            "may I call {}? yes",
            reply.deferred.iter().map(|call| call.call.name.as_str()).collect::<String>()
        );
        answers = reply.deferred.into_iter().map(|call| (call.call.id, Resolution::approve())).collect();
    }
}

fn key() -> Result<RunKey> {
    Ok(RunKey::new(TenantScope::local(), RunId::new("booking-of-room-7")?))
}

#[derive(Deserialize, JsonSchema)]
struct Room {
    /// The room's number.
    number: u32,
}

/// The agent over the file in `folder`; each process makes its own.
async fn agent(folder: &Path) -> Result<ToolAgent> {
    let runs = SqliteCheckpointer::open(&folder.join("runs.sqlite")).await?;
    let pay = FunctionTool::new("pay", "Pays for a room.", |room: Room, _ctx| async move {
        Ok(format!("room {} is paid for", room.number))
    });
    ToolAgent::builder(Arc::new(Clerk::new()))
        .tool(Arc::new(book(folder).policy(ToolPolicy::new().repeat(Repeat::Keyed))))
        .tool(Arc::new(pay.policy(ToolPolicy::new().handling(Handling::Approve))))
        .checkpoints(Arc::new(runs))
        .build()
}

/// Books slowly, and once for each key: the call that was killed is made again under the same one.
fn book(folder: &Path) -> FunctionTool {
    let bookings = folder.join("bookings");
    FunctionTool::new("book", "Books a room.", move |room: Room, ctx: RunContext| {
        let bookings = bookings.clone();
        async move {
            let line = format!(
                "room {} is booked under key {}\n",
                room.number,
                ctx.idempotency_key().unwrap_or_default()
            );
            if !std::fs::read_to_string(&bookings).unwrap_or_default().contains(&line) {
                let failed = |error| Error::io("write down a booking", error);
                let mut file =
                    OpenOptions::new().create(true).append(true).open(&bookings).map_err(failed)?;
                file.write_all(line.as_bytes()).map_err(failed)?;
            }
            println!("booking");
            ctx.sleep(Duration::from_secs(1)).await?;
            Ok("booked")
        }
    })
}

/// Books, pays, and then says so; where it is, it sees in the history.
struct Clerk(ModelInfo);

impl Clerk {
    fn new() -> Self {
        let abilities = Capabilities::default().with_tools();
        Self(ModelInfo::new("examples", "clerk", 8192).capabilities(abilities))
    }
}

#[async_trait]
impl ChatModel for Clerk {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn stream(&self, request: ChatRequest, _ctx: &RunContext) -> Result<ChatStream> {
        let done = request.messages.iter().filter(|message| message.role == Role::Tool).count();
        let call = |name: &str| {
            let arguments = json!({"number": 7});
            ChatEvent::ToolCall(ToolCall { id: String::new(), name: name.into(), arguments })
        };
        let (said, reason) = match done {
            0 => (call("book"), FinishReason::ToolCalls),
            1 => (call("pay"), FinishReason::ToolCalls),
            _ => (ChatEvent::Delta { text: "Room 7 is yours.".into() }, FinishReason::Stop),
        };
        Ok(ChatStream::generate(move |out| async move {
            out.emit(said).await?;
            out.emit(ChatEvent::Finished { reason }).await
        }))
    }
}
