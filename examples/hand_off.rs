//! Agents that hand the conversation to one another: a front desk, and an expert it passes questions on to.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, FunctionTool, HandOff, Result, Route, RunContext, TenantScope,
    ToolAgent,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Invoice {
    /// The number on the invoice.
    number: u32,
}

/// Greets, and hands questions of money on. The model's words are scripted.
fn front_desk() -> Result<ToolAgent> {
    let model = ScriptedModel::new([
        ScriptedTurn::tool_call(
            "1",
            "hand_off",
            json!({"to": "billing", "note": "Ann asks about invoice 7."}),
        ),
        ScriptedTurn::text("Good morning! What can I do for you?"),
    ]);
    let colleagues = HandOff::tool([("billing", "invoices and payments")]);
    ToolAgent::builder(Arc::new(model)).instructions("Welcome customers.").tool(colleagues).build()
}

/// Knows of invoices, and answers in the place of whoever handed the conversation on.
fn billing() -> Result<ToolAgent> {
    let model = ScriptedModel::new([
        ScriptedTurn::tool_call("1", "look_up", json!({"number": 7})),
        ScriptedTurn::text("Invoice 7 was paid on Monday."),
    ]);
    let look_up = FunctionTool::new("look_up", "Looks an invoice up.", |invoice: Invoice, _ctx| async move {
        Ok(format!("invoice {}: paid on Monday", invoice.number))
    });
    ToolAgent::builder(Arc::new(model)).tool(Arc::new(look_up)).build()
}

#[tokio::main]
async fn main() -> Result<()> {
    let team = HandOff::new(vec![
        Route::new("front desk", "everything else", Arc::new(front_desk()?)),
        Route::new("billing", "invoices and payments", Arc::new(billing()?)),
    ]);
    for message in ["Did you get my money for invoice 7?", "Good morning!"] {
        let input = AgentInput::new(TenantScope::local(), message);
        let mut events = team.run(input, &RunContext::new()).await?;
        println!("> {message}");
        while let Some(event) = events.next().await {
            match event.kind {
                AgentEventKind::ToolCalled(call) => println!("  [{} {}]", call.name, call.arguments),
                AgentEventKind::Delta { text } => print!("{text}"),
                AgentEventKind::Done { .. } => println!(),
                _ => {}
            }
        }
    }
    Ok(())
}
