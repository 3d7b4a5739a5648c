//! Tools that the caller of an agent brings: what of them is refused, and by whom.

use std::sync::Arc;

use agentkit_core::testing::ScriptedModel;
use agentkit_core::{
    Agent, AgentEventKind, AgentInput, AgentReply, AgentStream, ErrorKind, Message, Outcome, Part, Refine,
    Role, RunContext, Sequence, TenantScope, ToolAgent, ToolCall, ToolChoice, ToolOffer, ToolResult,
    ToolSpec, Verdict,
};
use serde_json::json;

fn tool(name: &str) -> ToolSpec {
    ToolSpec { name: name.into(), description: "Looks.".into(), parameters: json!({"type": "object"}) }
}

fn input() -> AgentInput {
    AgentInput::new(TenantScope::local(), "hi")
}

fn called(id: &str) -> Message {
    let call = ToolCall { id: id.into(), name: "look".into(), arguments: json!({}) };
    Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] }
}

fn returned(id: &str, content: &str) -> Message {
    let result = ToolResult { call_id: id.into(), content: content.into(), is_error: false };
    Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] }
}

#[test]
fn calls_and_results_are_taken_in_pairs() {
    let since = vec![called("1"), returned("1", ""), called("2"), returned("2", "x")];
    input().since(since.clone()).validate().unwrap();
    let history = [vec![Message::user("x")], since, vec![Message::assistant("y")]].concat();
    input().history(history).validate().unwrap();
    for (what, since) in [
        ("without a result", vec![called("1")]),
        ("answers no tool call", vec![returned("1", "x")]),
        ("only calls of tools", vec![Message::assistant("y")]),
        ("only calls of tools", vec![called("1"), returned("1", "x"), Message::user("y")]),
        ("at most 65536", vec![called("1"), returned("1", &"x".repeat(65_537))]),
    ] {
        let error = input().since(since).validate().unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(what), "{error:?}");
    }
}

#[test]
fn offers_that_no_provider_takes_are_refused() {
    let many: Vec<_> = (0..129).map(|at| tool(&format!("t{at}"))).collect();
    for (what, offer) in [
        ("at most 128", ToolOffer::new(many)),
        ("letters, digits", ToolOffer::new(vec![tool("a b")])),
        ("two tools", ToolOffer::new(vec![tool("a"), tool("a")])),
        ("none is offered", ToolOffer::default().choice(ToolChoice::Required)),
        ("is not offered", ToolOffer::new(vec![tool("a")]).choice(ToolChoice::Tool("b".into()))),
    ] {
        let error = input().tools(offer).validate().unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(what), "{error:?}");
    }
}

#[tokio::test]
async fn agents_that_hand_no_tools_on_refuse_them() {
    let tools: Arc<dyn Agent> =
        Arc::new(ToolAgent::builder(Arc::new(ScriptedModel::saying("hello"))).build().unwrap());
    let sequence = Sequence::new(vec![tools.clone()]);
    let refine = Refine::new(tools.clone(), |_, _, _| async { Ok(Verdict::Accept) });
    let agents: [Arc<dyn Agent>; 3] = [tools, Arc::new(sequence), Arc::new(refine)];
    for agent in agents {
        for offered in [
            input().tools(ToolOffer::new(vec![tool("look")])),
            input().since(vec![called("1"), returned("1", "x")]),
        ] {
            let error = agent.run(offered, &RunContext::new()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        }
        let not_to_be_called = ToolOffer::new(vec![tool("look")]).choice(ToolChoice::None);
        let reply = agent.run(input().tools(not_to_be_called), &RunContext::new()).await.unwrap();
        assert_eq!(reply.collect().await.unwrap().answer, "hello");
    }
}

#[tokio::test]
async fn a_reply_has_the_calls_without_a_result() {
    let call = |id: &str| ToolCall { id: id.into(), name: "look".into(), arguments: json!({}) };
    let (one, two) = (call("1"), call("2"));
    let stream = AgentStream::generate(|out| async move {
        out.emit(AgentEventKind::ToolCalled(one)).await?;
        out.emit(AgentEventKind::ToolCalled(two)).await?;
        let result = ToolResult { call_id: "1".into(), content: "x".into(), is_error: false };
        out.emit(AgentEventKind::ToolReturned(result)).await?;
        out.emit(AgentEventKind::Done { outcome: Outcome::Waiting }).await
    });
    let AgentReply { outcome, tool_calls, .. } = stream.collect().await.unwrap();
    assert_eq!((outcome, tool_calls), (Outcome::Waiting, vec![call("2")]));
}
