//! An agent with two tools, one of which needs a human's approval; a scripted model stands in for a hosted one.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentInput, FunctionTool, Handling, MemoryCheckpointer, Outcome, Resolution, Result, RunContext,
    RunKey, RunLimits, TenantScope, ToolAgent, ToolPolicy,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Order {
    /// The number on the invoice.
    number: u32,
}

#[derive(Deserialize, JsonSchema)]
struct Refund {
    /// The number on the invoice.
    order: u32,
    /// How much, in cents.
    #[schemars(range(min = 1, max = 10_000))]
    cents: u32,
}

/// What a model would say.
fn model() -> ScriptedModel {
    ScriptedModel::new([
        ScriptedTurn::tool_call("1", "look_up", json!({"number": 7})),
        ScriptedTurn::tool_call("2", "refund", json!({"order": 7, "cents": 99_999})),
        ScriptedTurn::tool_call("3", "refund", json!({"order": 7, "cents": 1250})),
        ScriptedTurn::text("I have refunded 12.50 for the broken cup."),
    ])
}

fn agent() -> Result<ToolAgent> {
    let look_up = FunctionTool::new("look_up", "Looks an order up.", |order: Order, _ctx| async move {
        Ok(format!("order {}: one cup, 12.50, arrived broken", order.number))
    });
    let refund =
        FunctionTool::new("refund", "Pays money back.", |refund: Refund, ctx: RunContext| async move {
            // The key is the same if the call has to be made again, so a payment service can tell.
            let key = ctx.idempotency_key().unwrap_or_default().to_owned();
            Ok(json!({"order": refund.order, "paid_cents": refund.cents, "key": key}))
        });
    ToolAgent::builder(Arc::new(model()))
        .instructions("Help customers with their orders.")
        .tool(Arc::new(look_up))
        .tool(Arc::new(refund.policy(ToolPolicy::new().handling(Handling::Approve))))
        .limits(RunLimits::new().steps(8).tokens(20_000))
        .checkpoints(Arc::new(MemoryCheckpointer::new()))
        .build()
}

#[tokio::main]
async fn main() -> Result<()> {
    let (agent, scope, ctx) = (agent()?, TenantScope::local(), RunContext::new());
    let input = AgentInput::new(scope.clone(), "The cup of order 7 is broken.");
    let mut reply = agent.run(input, &ctx).await?.collect().await?;

    while reply.outcome == Outcome::Waiting {
        let Some(run) = reply.run_id else { break };
        let mut answers = Vec::new();
        for deferred in reply.deferred {
            println!("May I call {} with {}? Yes.", deferred.call.name, deferred.call.arguments);
            answers.push((deferred.call.id, Resolution::approve()));
        }
        reply = agent.resume(&RunKey::new(scope.clone(), run), answers, &ctx).await?.collect().await?;
    }
    println!("{}", reply.answer);
    Ok(())
}
