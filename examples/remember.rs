//! Kinds of memory: the newest turns, a summary in the place of older ones, and earlier turns found by their meaning.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::testing::{HashingEmbedder, ScriptedModel};
use agentkit_core::{
    Agent, AgentInput, Memory, Message, Result, RunContext, SessionId, SessionKey, SummaryMemory,
    TenantScope, ToolAgent, VectorMemory, WindowMemory, forget_tenant,
};

const TURNS: [(&str, &str); 4] = [
    ("I am Ann, and my favourite tea is sencha from Uji.", "A fine choice, Ann."),
    ("The train to Oslo leaves at nine o'clock from platform four.", "I will keep that in mind."),
    ("It may rain tomorrow, so I shall take the large umbrella.", "That is wise."),
    ("Please write down that the cups are in the blue box.", "Done: cups, blue box."),
];

/// Tells the memory all turns, and shows what it recalls.
async fn show(what: &str, memory: &dyn Memory, key: &SessionKey, limit: usize) -> Result<()> {
    let ctx = RunContext::new();
    for (question, answer) in TURNS {
        memory.append(key, vec![Message::user(question), Message::assistant(answer)], &ctx).await?;
    }
    println!("{what}:");
    for message in memory.recall(key, limit, &ctx).await? {
        println!("  {:?}: {}", message.role, message.joined_text());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let ctx = RunContext::new();
    let key = SessionKey::new(TenantScope::local(), SessionId::new("tea time")?);

    show("a window of four messages", &WindowMemory::with_window(4), &key, 10).await?;

    // A hosted model would write the summary; any store can be below, such as that in SQLite of agentkit-rag.
    let writer = Arc::new(ScriptedModel::saying("Ann likes sencha; her train to Oslo leaves at nine."));
    let summary = SummaryMemory::new(Arc::new(WindowMemory::new()), writer).tokens(80);
    show("a summary and what is new", &summary, &key, 10).await?;

    let vector = VectorMemory::new(Arc::new(WindowMemory::new()), Arc::new(HashingEmbedder::new())).recent(2);
    show("the newest turn and one that bears on it", &vector, &key, 4).await?;
    let found = vector.about(&key, "which tea is my favourite?", 2, &ctx).await?;
    println!("about tea:\n  {}", found.first().map(Message::joined_text).unwrap_or_default());

    // An agent is given any of them, and its conversations are forgotten whole.
    let model = Arc::new(ScriptedModel::saying("Sencha."));
    let agent = ToolAgent::builder(model).memory(Arc::new(vector.clone())).build()?;
    let input =
        AgentInput::new(TenantScope::local(), "Which tea do I like?").session(SessionId::new("tea time")?);
    println!("the agent: {}", agent.run(input, &ctx).await?.collect().await?.answer);
    println!("forgotten: {} conversation", forget_tenant(&vector, None, key.scope(), &ctx).await?.sessions);
    Ok(())
}
