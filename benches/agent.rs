//! What the agent loop costs: time a step beside the same calls made by hand, and allocations a streamed token.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(unsafe_code, reason = "counting allocations takes an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkit_core::testing::{EchoTool, ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, ChatModel, ChatRequest, MemoryCheckpointer, Message, Part, Role,
    RunContext, RunLimits, TenantScope, Tool, ToolAgent, ToolResult, complete,
};
use benches::is_measuring;
use serde_json::json;
use tokio::time::Instant;

/// Calls of the model that end with a tool, before the one that ends with the answer.
const STEPS: u32 = 10;
/// Words of the answer whose allocations are counted.
const WORDS: u32 = 1000;

/// Counts what is asked of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it came; counting changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of this method, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for `alloc`; the pointer came from there.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as for `alloc`; the pointer came from there.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let rounds = if is_measuring() { 500 } else { 2 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        steps(rounds).await;
        tokens().await;
    });
}

/// A model that asks for a tool some times and then answers.
fn using_tools() -> ScriptedModel {
    let calls = (0..STEPS).map(|step| {
        ScriptedTurn::tool_call(format!("call-{step}"), "echo", json!({"text": format!("step {step}")}))
    });
    ScriptedModel::new(calls.chain([ScriptedTurn::text("all steps are done")]))
}

fn agent(model: ScriptedModel, checkpoints: bool) -> ToolAgent {
    let builder = ToolAgent::builder(Arc::new(model))
        .tool(Arc::new(EchoTool::erased()))
        .limits(RunLimits::new().steps(STEPS + 1));
    let builder =
        if checkpoints { builder.checkpoints(Arc::new(MemoryCheckpointer::new())) } else { builder };
    builder.build().expect("a sound agent")
}

/// The median time of a step by hand, in the loop, and in the loop with checkpoints, in turns.
async fn steps(rounds: usize) {
    let [mut by_hand, mut looped, mut kept] = [(); 3].map(|()| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        by_hand.push(steps_by_hand(using_tools()).await);
        looped.push(steps_in_the_loop(&agent(using_tools(), false)).await);
        kept.push(steps_in_the_loop(&agent(using_tools(), true)).await);
    }
    let [by_hand, looped, kept] = [by_hand, looped, kept].map(|times| median(times) / (STEPS + 1));
    println!("a step by hand            {by_hand:?}");
    println!("a step in the loop        {looped:?}: {:?} more", looped.saturating_sub(by_hand));
    println!("the same with checkpoints {kept:?}: {:?} more", kept.saturating_sub(by_hand));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What one would write without the loop, and without any of its checks.
async fn steps_by_hand(model: ScriptedModel) -> Duration {
    let (tool, ctx) = (EchoTool::erased(), RunContext::new());
    let mut request = ChatRequest::new(vec![Message::user("go")]);
    request.tools = vec![tool.spec().clone()];
    let begun = Instant::now();
    loop {
        let answer = complete(&model, request.clone(), &ctx).await.expect("the script has a turn");
        if answer.tool_calls.is_empty() {
            return begun.elapsed();
        }
        let mut results = Vec::with_capacity(answer.tool_calls.len());
        for call in &answer.tool_calls {
            let content = tool.call(call.arguments.clone(), &ctx).await.expect("it echoes").to_string();
            results.push(Part::ToolResult(ToolResult { call_id: call.id.clone(), content, is_error: false }));
        }
        let calls = answer.tool_calls.into_iter().map(Part::ToolCall).collect();
        request.messages.push(Message { role: Role::Assistant, parts: calls });
        request.messages.push(Message { role: Role::Tool, parts: results });
    }
}

async fn steps_in_the_loop(agent: &ToolAgent) -> Duration {
    let begun = Instant::now();
    let input = AgentInput::new(TenantScope::local(), "go");
    let run = agent.run(input, &RunContext::new()).await.expect("a sound input");
    let reply = run.collect().await.expect("the script answers");
    assert_eq!(reply.answer, "all steps are done");
    begun.elapsed()
}

/// Allocations for each word of an answer, of the model alone and of the agent around it.
async fn tokens() {
    let text = "word ".repeat(WORDS as usize);
    let model = ScriptedModel::saying(text.trim());
    let (request, ctx) = (ChatRequest::new(vec![Message::user("go")]), RunContext::new());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut stream = model.stream(request, &ctx).await.expect("the model answers");
    while stream.next().await.is_some() {}
    let alone = ALLOCATIONS.load(Ordering::Relaxed) - before;

    let agent = agent(model, false);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let input = AgentInput::new(TenantScope::local(), "go");
    let mut stream = agent.run(input, &ctx).await.expect("a sound input");
    let mut words = 0;
    while let Some(event) = stream.next().await {
        words += u32::from(matches!(event.kind, AgentEventKind::Delta { .. }));
    }
    let all = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(words, WORDS, "each word is told as it comes");
    #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
    let each = |count: u64| count as f64 / f64::from(WORDS);
    println!("allocations a streamed token: {:.2}, of which the model makes {:.2}", each(all), each(alone));
}
