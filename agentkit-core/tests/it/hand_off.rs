//! Agents that hand the conversation to one another.

use std::sync::Arc;

use agentkit_core::testing::conformance::{self, AgentFixture};
use agentkit_core::testing::{EchoTool, ScriptedModel, ScriptedTurn, WindowMemory};
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, AgentReply, Error, ErrorKind, HandOff, Memory, Outcome, Result, Route,
    RunContext, SessionId, SessionKey, TenantScope, ToolAgent,
};
use serde_json::{Value, json};

use crate::agents::Flaw;
use crate::conformance::quoting_agent;

const COLLEAGUES: [(&str, &str); 2] = [("billing", "invoices"), ("front", "everything else")];

fn hands_to(arguments: Value) -> ScriptedTurn {
    ScriptedTurn::tool_call("1", "hand_off", arguments)
}

fn agent(model: &Arc<ScriptedModel>, memory: &Arc<WindowMemory>) -> Arc<dyn Agent> {
    let builder = ToolAgent::builder(model.clone()).tool(HandOff::tool(COLLEAGUES));
    Arc::new(builder.tool(Arc::new(EchoTool::erased())).memory(memory.clone()).build().unwrap())
}

struct Team {
    front: Arc<ScriptedModel>,
    billing: Arc<ScriptedModel>,
    memory: Arc<WindowMemory>,
}

impl Team {
    fn new<const F: usize, const B: usize>(front: [ScriptedTurn; F], billing: [ScriptedTurn; B]) -> Self {
        let model = |turns| Arc::new(turns);
        Self {
            front: model(ScriptedModel::new(front)),
            billing: model(ScriptedModel::new(billing)),
            memory: Arc::default(),
        }
    }

    fn agent(&self) -> HandOff {
        HandOff::new(vec![
            Route::new("front", "everything else", agent(&self.front, &self.memory)),
            Route::new("billing", "invoices", agent(&self.billing, &self.memory)),
        ])
    }

    async fn ask(&self, message: &str) -> Result<AgentReply> {
        let input = AgentInput::new(TenantScope::local(), message).session(SessionId::new("s").unwrap());
        self.agent().run(input, &RunContext::new()).await?.collect().await
    }

    async fn remembered(&self) -> Vec<String> {
        let key = SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap());
        let messages = self.memory.recall(&key, 10, &RunContext::new()).await.unwrap();
        messages.iter().map(agentkit_core::Message::joined_text).collect()
    }
}

#[tokio::test]
async fn whoever_is_handed_the_conversation_answers_it() {
    let team = Team::new(
        [hands_to(json!({"to": "billing", "note": "it is invoice 7"}))],
        [ScriptedTurn::text("It is paid.")],
    );
    let reply = team.ask("Did I pay?").await.unwrap();
    assert_eq!((reply.answer.as_str(), reply.outcome), ("It is paid.", Outcome::Answered));
    let asked = team.billing.requests()[0].messages.last().unwrap().joined_text();
    assert_eq!(asked, "Did I pay?\n\n[Note of front: it is invoice 7]");
    assert!(reply.usage.total() >= 2, "the usage of both is counted: {:?}", reply.usage);
    assert_eq!(team.remembered().await, [asked.as_str(), "It is paid."], "one turn is remembered");
}

#[tokio::test]
async fn an_agent_that_answers_keeps_the_conversation() {
    let team = Team::new([ScriptedTurn::text("Hello.")], []);
    assert_eq!(team.ask("Hi").await.unwrap().answer, "Hello.");
    assert!(team.billing.requests().is_empty());
}

#[tokio::test]
async fn a_colleague_that_does_not_exist_is_told_to_the_model() {
    let team = Team::new([hands_to(json!({"to": "nobody"})), ScriptedTurn::text("I do it myself.")], []);
    assert_eq!(team.ask("Hi").await.unwrap().answer, "I do it myself.");
}

#[tokio::test]
async fn a_message_does_not_go_round_for_ever() {
    let front = [(); 9].map(|()| hands_to(json!({"to": "billing"})));
    let billing = [(); 9].map(|()| hands_to(json!({"to": "front"})));
    let team = Team::new(front, billing);
    let error = team.ask("Hi").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(error.message().contains("more than 4 times"), "{error}");
    assert_eq!(team.front.requests().len() + team.billing.requests().len(), 5);
    assert!(team.remembered().await.is_empty());
}

#[tokio::test]
async fn other_failures_are_no_hand_off() {
    let fails =
        ScriptedTurn::refuse(Error::new(ErrorKind::Unavailable, "handing the conversation to \"billing\""));
    let team = Team::new([fails], [ScriptedTurn::text("never")]);
    assert_eq!(team.ask("Hi").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(team.billing.requests().is_empty());
}

#[tokio::test]
async fn every_call_has_its_result_also_beside_a_hand_off() {
    let turn = crate::tooling::asks([
        crate::tooling::call("1", "echo", json!({"text": "hello"})),
        crate::tooling::call("2", "hand_off", json!({"to": "billing"})),
        crate::tooling::call("3", "echo", json!({"text": "again"})),
    ]);
    let team = Team::new([turn], [ScriptedTurn::text("It is paid.")]);
    let input = AgentInput::new(TenantScope::local(), "Did I pay?");
    let mut events = team.agent().run(input, &RunContext::new()).await.unwrap();
    let (mut called, mut returned, mut seq) = (Vec::new(), Vec::new(), 0);
    while let Some(event) = events.next().await {
        assert_eq!(event.seq, seq);
        seq += 1;
        match event.kind {
            AgentEventKind::ToolCalled(call) => called.push(call.id),
            AgentEventKind::ToolReturned(result) => returned.push(result.call_id),
            AgentEventKind::Error { message, .. } => panic!("{message}"),
            _ => {}
        }
    }
    assert_eq!(called, ["1", "2", "3"]);
    assert_eq!(returned, called);
}

#[tokio::test]
async fn a_hand_off_conforms_to_the_contract_of_agents() {
    let quoting = quoting_agent(Flaw::None);
    let memory = Arc::clone(&quoting.memory);
    let agent = HandOff::new(vec![Route::new("only", "everything", Arc::new(quoting))]);
    let fixture = AgentFixture::new(Arc::new(agent), conformance::fixture_scope())
        .question("Wie groß ist die Teekanne?")
        .memory(memory);
    conformance::agent(&fixture).await;
}

#[tokio::test]
async fn nobody_to_begin_is_an_error_at_once() {
    let input = AgentInput::new(TenantScope::local(), "Hi");
    let error = HandOff::new(Vec::new()).run(input, &RunContext::new()).await.unwrap_err();
    assert!(error.is_invalid_input());
}
