//! Agents made of agents: a router in front, two experts side by side behind it, and a judge of drafts.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentInput, Parallel, Refine, Result, Route, Router, RunContext, TenantScope, ToolAgent, Verdict,
};

/// An agent whose model says these things, one after the other.
fn saying<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Arc<dyn Agent>> {
    let model = ScriptedModel::new(texts.into_iter().map(ScriptedTurn::text));
    Ok(Arc::new(ToolAgent::builder(Arc::new(model)).build()?))
}

fn team() -> Result<Router> {
    let experts = vec![
        ("chemist".to_owned(), saying(["Tannins dissolve faster in hot water."])?),
        ("taster".to_owned(), saying(["Green tea turns bitter above 80 degrees."])?),
    ];
    let research =
        Parallel::new(experts, saying(["Brew green tea at 80 degrees: hotter water makes it bitter."])?);
    let poet =
        Refine::new(saying(["Tea is nice.", "Steam over the cup; the morning takes its time."])?, judge);
    let choosing = ScriptedModel::new([ScriptedTurn::text("research"), ScriptedTurn::text("poetry")]);
    Ok(Router::new(
        Arc::new(choosing),
        vec![
            Route::new("research", "questions that have an answer", Arc::new(research)),
            Route::new("poetry", "wishes for verse", Arc::new(poet)),
        ],
    ))
}

/// Accepts drafts of more than five words.
async fn judge(_message: String, draft: agentkit_core::AgentReply, _ctx: RunContext) -> Result<Verdict> {
    let words = draft.answer.split_whitespace().count();
    Ok(if words > 5 { Verdict::Accept } else { Verdict::Revise(format!("{words} words are too few")) })
}

#[tokio::main]
async fn main() -> Result<()> {
    let team = team()?;
    for message in ["How hot should green tea be brewed, and why?", "Write a line about tea."] {
        let input = AgentInput::new(TenantScope::local(), message);
        let reply = team.run(input, &RunContext::new()).await?.collect().await?;
        println!("{message}\n  {} ({} tokens)", reply.answer, reply.usage.total());
    }
    Ok(())
}
