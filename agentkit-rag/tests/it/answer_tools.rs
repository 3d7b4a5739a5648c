//! Tools of the caller beside the passages: what the model is given, and what becomes of its calls.

use std::sync::Arc;

use agentkit_core::testing::{MemoryRetriever, ScriptedModel, ScriptedTurn, WindowMemory};
use agentkit_core::{
    Agent, AgentInput, ChatEvent, ChatRequest, ErrorKind, FinishReason, Memory, Message, ModelInfo, Outcome,
    Part, Role, RunContext, SessionId, SessionKey, TenantScope, ToolCall, ToolChoice, ToolOffer, ToolResult,
    ToolSpec,
};
use agentkit_rag::answer::{ExtractiveModel, REFUSAL, RagAgent};
use serde_json::json;

use crate::answer::{Shelf, passage};

const TEA: &str = "Green tea is best at 80 degrees.";

fn offer() -> ToolOffer {
    let parameters = json!({"type": "object"});
    ToolOffer::new(vec![ToolSpec { name: "look".into(), description: "Looks.".into(), parameters }])
}

fn input() -> AgentInput {
    AgentInput::new(TenantScope::local(), "How hot?").tools(offer())
}

/// What was done since the question: a call and its result.
fn since(result: &str) -> Vec<Message> {
    let call = ToolCall { id: "1".into(), name: "look".into(), arguments: json!({"at": "kettle"}) };
    let result = ToolResult { call_id: "1".into(), content: result.into(), is_error: false };
    vec![
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] },
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] },
    ]
}

fn roles(request: &ChatRequest) -> Vec<Role> {
    request.messages.iter().map(|message| message.role).collect()
}

#[tokio::test]
async fn a_call_ends_the_run_and_its_result_is_answered_from_beside_the_passages() {
    let turns =
        [ScriptedTurn::tool_call("1", "look", json!({"at": "kettle"})), ScriptedTurn::text("At 80 degrees.")];
    let model = Arc::new(ScriptedModel::new(turns));
    let (memory, ctx) = (Arc::new(WindowMemory::new()), RunContext::new());
    let agent = RagAgent::new(Shelf::new(vec![passage("tea", TEA)]), model.clone()).memory(memory.clone());
    let session = SessionId::new("s").unwrap();
    let key = SessionKey::new(TenantScope::local(), session.clone());
    let ask = async |input: AgentInput| {
        agent.run(input.session(session.clone()), &ctx).await.unwrap().collect().await.unwrap()
    };

    let first = ask(input()).await;
    assert_eq!((first.outcome, first.tool_calls.len()), (Outcome::Waiting, 1));
    assert_eq!(first.tool_calls[0].arguments, json!({"at": "kettle"}));
    assert!(memory.recall(&key, 9, &ctx).await.unwrap().is_empty(), "a run that waits is not remembered");

    let second = ask(input().since(since("80 on the dial"))).await;
    assert_eq!((second.outcome, second.answer.as_str()), (Outcome::Answered, "At 80 degrees."));
    assert_eq!(memory.recall(&key, 9, &ctx).await.unwrap().len(), 2);
    let requests = model.requests();
    for request in &requests {
        assert_eq!(request.tools, offer().tools);
        assert!(request.messages[1].joined_text().contains("call the tools"), "{:?}", request.messages[1]);
    }
    assert_eq!(roles(&requests[0]), [Role::System, Role::System, Role::System, Role::User]);
    let [.., question, call, result] = &requests[1].messages[..] else { panic!("{:?}", requests[1]) };
    assert_eq!(question.passages().next().unwrap().text, TEA);
    assert_eq!([call.clone(), result.clone()], since("80 on the dial")[..]);
}

#[tokio::test]
async fn where_nothing_is_found_a_model_with_tools_is_asked_all_the_same() {
    let nothing = || Arc::new(MemoryRetriever::new());
    let model = Arc::new(ScriptedModel::saying("It is 80."));
    let agent = RagAgent::new(nothing(), model.clone());
    let ask = async |input: AgentInput| {
        agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap().answer
    };
    assert_eq!(ask(input()).await, "It is 80.");
    assert_eq!(model.requests()[0].messages.last(), Some(&Message::user("How hot?")));
    let not_to_be_called = input().tools(offer().choice(ToolChoice::None));
    assert_eq!(ask(not_to_be_called.clone()).await, REFUSAL);
    assert_eq!(ask(not_to_be_called.since(since("80"))).await, "It is 80.", "there is a result to tell");
    assert_eq!(model.requests().len(), 2);
    let told = &model.requests()[1];
    assert_eq!(told.tool_choice, ToolChoice::None);
    let system = told.messages.iter().filter(|said| said.role == Role::System).map(Message::joined_text);
    let system = system.collect::<String>();
    assert!(system.contains("a tool returned") && !system.contains("call the tools"), "{system}");
}

#[tokio::test]
async fn calls_of_earlier_turns_are_given_where_there_are_tools() {
    let model = Arc::new(ScriptedModel::saying("Yes."));
    let agent = RagAgent::new(Shelf::new(vec![passage("tea", TEA)]), model.clone());
    let history = [vec![Message::user("Look!")], since("steam"), vec![Message::assistant("It boils. [1]")]];
    let input = input().history(history.concat());
    for input in [input.clone(), input.tools(ToolOffer::default())] {
        agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
    }
    let requests = model.requests();
    let (user, assistant) = (Role::User, Role::Assistant);
    assert_eq!(roles(&requests[0])[3..], [user, assistant, Role::Tool, assistant, user]);
    assert_eq!(requests[0].messages[6].joined_text(), "It boils.");
    assert_eq!(roles(&requests[1])[1..], [user, assistant, user]);
}

#[tokio::test]
async fn models_without_tools_and_tools_without_room_are_refused_at_once() {
    let refusal =
        async |agent: RagAgent, input: AgentInput| agent.run(input, &RunContext::new()).await.unwrap_err();
    let shelf = || Shelf::new(vec![passage("tea", TEA)]);
    let plain = ScriptedModel::saying("x").described(ModelInfo::new("test", "plain", 8_000));
    for agent in
        [RagAgent::new(shelf(), Arc::new(plain)), RagAgent::new(shelf(), Arc::new(ExtractiveModel::new()))]
    {
        for asked in [input(), AgentInput::new(TenantScope::local(), "x").since(since("y"))] {
            let error = refusal(agent.clone(), asked).await;
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("cannot call tools"), "{error:?}");
        }
    }
    let agent = RagAgent::new(shelf(), Arc::new(ScriptedModel::saying("x")));
    let error = refusal(agent, input().since(since(&"many words ".repeat(2_000)))).await;
    assert!(error.is_invalid_input() && error.message().contains("results have about"), "{error:?}");
}

#[tokio::test]
async fn calls_are_brought_into_a_form_that_can_be_answered() {
    let call = |id: &str, arguments| ToolCall { id: id.into(), name: "look".into(), arguments };
    let turn = ScriptedTurn::events([
        ChatEvent::ToolCall(call("1", json!("{cut"))),
        ChatEvent::ToolCall(call("", json!({}))),
        ChatEvent::Finished { reason: FinishReason::Stop },
    ]);
    let model = Arc::new(ScriptedModel::new([turn, ScriptedTurn::text("Yes.")]));
    let agent = RagAgent::new(Shelf::new(vec![passage("tea", TEA)]), model);
    let ask = async |input: AgentInput| {
        agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap()
    };
    let asked = input().since(since("80"));
    let reply = ask(asked.clone()).await;
    assert_eq!(reply.outcome, Outcome::Waiting);
    let result = |call: &ToolCall| {
        Part::ToolResult(ToolResult { call_id: call.id.clone(), content: "x".into(), is_error: false })
    };
    let results = reply.tool_calls.iter().map(result).collect();
    let calls = reply.tool_calls.iter().cloned().map(Part::ToolCall).collect();
    let mut told = asked.since;
    told.push(Message { role: Role::Assistant, parts: calls });
    told.push(Message { role: Role::Tool, parts: results });
    assert_eq!(ask(input().since(told)).await.answer, "Yes.");
}

#[tokio::test]
async fn calls_that_are_cut_off_or_were_not_offered_are_not_told() {
    let call = || ChatEvent::ToolCall(ToolCall { id: "1".into(), name: "look".into(), arguments: json!({}) });
    let text = |reason| {
        ScriptedTurn::events([
            ChatEvent::Delta { text: "Hm.".into() },
            call(),
            ChatEvent::Finished { reason },
        ])
    };
    let model = ScriptedModel::new([text(FinishReason::Length), text(FinishReason::ToolCalls)]);
    let agent = RagAgent::new(Shelf::new(vec![passage("tea", TEA)]), Arc::new(model));
    for (input, outcome) in
        [(input(), Outcome::Truncated), (input().tools(ToolOffer::default()), Outcome::Answered)]
    {
        let reply = agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
        assert_eq!((reply.outcome, reply.tool_calls), (outcome, Vec::new()));
    }
}

#[tokio::test]
async fn where_results_of_earlier_turns_do_not_fit_what_was_said_is_kept() {
    let model = Arc::new(ScriptedModel::saying("Yes."));
    let agent = RagAgent::new(Shelf::new(vec![passage("tea", TEA)]), model.clone());
    let long = since(&"steam ".repeat(2_000));
    let history = [vec![Message::user("Look!")], long, vec![Message::assistant("It boils.")]].concat();
    agent.run(input().history(history), &RunContext::new()).await.unwrap().collect().await.unwrap();
    let said: Vec<String> = model.requests()[0].messages[3..].iter().map(Message::joined_text).collect();
    assert_eq!(said, ["Look!", "It boils.", "How hot?"]);
}

#[tokio::test]
async fn an_id_is_not_given_twice_in_a_conversation_of_which_the_model_sees_a_part() {
    let model = Arc::new(ScriptedModel::new([ScriptedTurn::tool_call("1", "look", json!({}))]));
    let agent = RagAgent::new(Shelf::new(vec![passage("tea", TEA)]), model);
    let long = since(&"steam ".repeat(2_000));
    let history = [vec![Message::user("Look!")], long, vec![Message::assistant("It boils.")]].concat();
    let input = input().history(history);
    let reply = agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
    assert_ne!(reply.tool_calls[0].id, "1", "an earlier call has this id");
}
