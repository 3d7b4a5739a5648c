//! Tools of clients through OpenAI's interface: offered, called, and continued with their results.

use agentkit_core::{Part, ToolChoice};
use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Service, request};

const COMPLETIONS: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

fn parameters() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn function() -> Value {
    json!({"name": "weather_in", "description": "The weather of a city.", "parameters": parameters()})
}

/// The tool in the form of chats.
fn chat_tool() -> Value {
    json!({"type": "function", "function": function()})
}

/// The tool in the form of responses.
fn response_tool() -> Value {
    let mut tool = function();
    tool["type"] = "function".into();
    tool
}

#[expect(clippy::needless_pass_by_value, reason = "it is given what a macro has just made")]
fn chat(more: Value) -> String {
    let messages = [json!({"role": "user", "content": "weather"})];
    let mut body = json!({"model": "default", "messages": messages, "tools": [chat_tool()]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "it is given what a macro has just made")]
fn response(more: Value) -> String {
    let mut body = json!({"model": "default", "input": "weather", "tools": [response_tool()]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn call(city: &str) -> Value {
    let function = json!({"name": "weather_in", "arguments": json!({ "city": city }).to_string()});
    json!({"id": format!("call_{city}"), "type": "function", "function": function})
}

fn data(answer: &Answer) -> Vec<Value> {
    let lines = answer.body.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_chat_calls_tools_and_is_continued_by_their_results() {
    let service = Service::new();
    let reply = service.post(COMPLETIONS, &chat(json!({}))).await.json();
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{reply}");
    assert_eq!(choice["message"]["tool_calls"], json!([call("Oslo"), call("Bergen")]));
    let messages = json!([
        {"role": "user", "content": "weather"},
        choice["message"],
        {"role": "tool", "tool_call_id": "call_Oslo", "content": "snow"},
        {"role": "tool", "tool_call_id": "call_Bergen", "content": [{"type": "text", "text": "rain"}]},
    ]);
    let reply = service.post(COMPLETIONS, &chat(json!({ "messages": messages }))).await.json();
    assert_eq!(reply["choices"][0]["finish_reason"], "stop", "{reply}");
    assert!(reply["choices"][0]["message"].get("tool_calls").is_none());
    assert_eq!(reply["choices"][0]["message"]["content"], "At 80\ndegrees [1]; snow, rain");
    let asked = service.doubles.agent.asked.lock().unwrap();
    assert_eq!((asked[1].message.as_str(), asked[1].history.len(), asked[1].since.len()), ("weather", 0, 2));
    assert_eq!(asked[1].tools.tools[0].parameters, parameters());
}

#[tokio::test]
async fn a_streamed_chat_tells_calls_by_their_index() {
    let service = Service::new();
    let stream = service.post(COMPLETIONS, &chat(json!({"stream": true}))).await;
    let chunks = data(&stream);
    let delta = |chunk: &Value| chunk["choices"][0]["delta"]["tool_calls"][0].clone();
    let calls: Vec<Value> = chunks.iter().map(delta).filter(|call| !call.is_null()).collect();
    for ((at, city), told) in ["Oslo", "Bergen"].into_iter().enumerate().zip(&calls) {
        let mut expected = call(city);
        expected["index"] = at.into();
        assert_eq!(*told, expected);
    }
    assert_eq!(calls.len(), 2);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    assert!(stream.body.ends_with("data: [DONE]\n\n"), "{}", stream.body);
}

#[tokio::test]
async fn choices_of_tools_are_handed_on_in_every_form() {
    let service = Service::new();
    let other = json!({"type": "function", "function": {"name": "other", "parameters": {}}});
    let one = json!({"type": "function", "function": {"name": "other"}});
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [one]}});
    for (choice, expected, names) in [
        (Value::Null, ToolChoice::Auto, &["weather_in", "other"][..]),
        (json!("auto"), ToolChoice::Auto, &["weather_in", "other"]),
        (json!("required"), ToolChoice::Required, &["weather_in", "other"]),
        (one.clone(), ToolChoice::Tool("other".into()), &["weather_in", "other"]),
        (allowed, ToolChoice::Required, &["other"]),
    ] {
        let tools = json!([chat_tool(), other]);
        let more = json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": false});
        let answer = service.post(COMPLETIONS, &chat(more)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let asked = service.doubles.agent.asked.lock().unwrap();
        let offer = &asked.last().unwrap().tools;
        assert_eq!((&offer.choice, offer.parallel), (&expected, Some(false)));
        let offered: Vec<&str> = offer.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(offered, names);
    }
    let flat = json!({"tool_choice": {"type": "function", "name": "weather_in"}});
    assert_eq!(service.post(RESPONSES, &response(flat)).await.status, 200);
    let asked = service.doubles.agent.asked.lock().unwrap();
    assert_eq!(asked.last().unwrap().tools.choice, ToolChoice::Tool("weather_in".into()));
}

#[tokio::test]
async fn malformed_tools_calls_and_choices_are_refused_by_name() {
    let service = Service::new();
    let function = |function: Value| json!({"tools": [{"type": "function", "function": function}]});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "snow"});
    let told = |messages: Value| json!({ "messages": messages });
    let (question, called) = (
        json!({"role": "user", "content": "weather"}),
        json!({"role": "assistant", "tool_calls": [call("Oslo")]}),
    );
    for (more, part) in [
        (function(json!({"description": "x"})), "has no name"),
        (function(json!({"name": "a b"})), "letters, digits"),
        (function(json!({"name": "a", "parameters": {"type": "string"}})), "no schema of an object"),
        (function(json!({"name": "a", "parameters": 1})), "no schema of an object"),
        (json!({"tools": [chat_tool(), chat_tool()]}), "two tools have the name"),
        (json!({"tools": vec![chat_tool(); 129]}), "at most 128"),
        (json!({"tools": [{"type": "web_search"}]}), "functions of its clients only"),
        (json!({"tools": [], "tool_choice": "required"}), "none is offered"),
        (json!({"tool_choice": {"type": "function", "function": {"name": "x"}}}), "is not offered"),
        (json!({"tool_choice": "perhaps"}), "not auto, none or required"),
        (json!({"tool_choice": {"type": "allowed_tools", "tools": [{"name": "x"}]}}), "is not offered"),
        (json!({"tool_choice": 3}), "must be auto"),
        (told(json!([question, called])), "user's question"),
        (told(json!([question, called, result("call_Bergen")])), "answers a call that was not made"),
        (told(json!([question, result("call_Oslo")])), "answers no tool call"),
        (told(json!([called, result("call_Oslo")])), "user's question"),
        (told(json!([question, called, result("call_Oslo"), result("call_Oslo")])), "answers it twice"),
        (told(json!([question, {"role": "assistant", "tool_calls": [{"id": "1"}]}])), "missing field"),
    ] {
        let answer = service.post(COMPLETIONS, &chat(more)).await;
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && message.contains(part), "{message}");
    }
    let talk = service.post(RESPONSES, &response(json!({"conversation": "talk"}))).await;
    assert!(talk.status == 400 && talk.body.contains("previous_response_id"), "{}", talk.body);
}

#[tokio::test]
async fn what_a_model_wrote_that_is_no_json_goes_back_to_it_as_an_object() {
    let service = Service::new();
    let mut broken = call("Oslo");
    broken["function"]["arguments"] = "{city".into();
    let messages = json!([
        {"role": "user", "content": "weather"},
        {"role": "assistant", "content": null, "tool_calls": [broken]},
        {"role": "tool", "tool_call_id": "call_Oslo", "content": "that was no JSON"},
    ]);
    assert_eq!(service.post(COMPLETIONS, &chat(json!({ "messages": messages }))).await.status, 200);
    let asked = service.doubles.agent.asked.lock().unwrap();
    let Part::ToolCall(call) = &asked[0].since[0].parts[0] else { panic!("{:?}", asked[0].since) };
    assert_eq!(call.arguments, json!({"malformed_arguments": "{city"}));
}

#[tokio::test]
async fn a_response_calls_tools_and_is_continued_by_its_id_or_by_its_items() {
    let service = Service::new();
    let first = service.post(RESPONSES, &response(json!({}))).await.json();
    assert_eq!(first["status"], "completed", "{first}");
    assert_eq!((&first["tools"][0]["name"], &first["tool_choice"]), (&"weather_in".into(), &"auto".into()));
    let kinds: Vec<&str> =
        first["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "function_call", "function_call"]);
    let called = &first["output"][1];
    assert_eq!((&called["call_id"], &called["name"]), (&"call_Oslo".into(), &"weather_in".into()));
    assert_eq!(called["arguments"], r#"{"city":"Oslo"}"#);
    let result = |city: &str| json!({"type": "function_call_output", "call_id": format!("call_{city}"), "output": "snow"});
    let results = [result("Oslo"), result("Bergen")];
    let by_id = response(json!({"previous_response_id": first["id"], "input": results}));
    let items = first["output"].as_array().unwrap().iter().cloned();
    let question = json!({"role": "user", "content": "weather"});
    let all: Vec<Value> = [question].into_iter().chain(items).chain(results).collect();
    for body in [by_id, response(json!({ "input": all }))] {
        let reply = service.post(RESPONSES, &body).await.json();
        assert_eq!(reply["output"][0]["content"][0]["text"], "At 80\ndegrees [1]; snow, snow", "{reply}");
    }
    let asked = service.doubles.agent.asked.lock().unwrap();
    assert_eq!(asked[1].since, asked[2].since, "the same was said in both ways");
}

#[tokio::test]
async fn a_streamed_response_tells_each_call_as_an_item() {
    let service = Service::new();
    let events = data(&service.post(RESPONSES, &response(json!({"stream": true}))).await);
    let calls: Vec<&Value> = events.iter().filter(|event| event["output_index"] == 1).collect();
    let names: Vec<&str> = calls.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ];
    assert_eq!(names, expected.map(|name| format!("response.{name}")));
    assert_eq!(
        (&calls[0]["item"]["arguments"], &calls[0]["item"]["status"]),
        (&"".into(), &"in_progress".into())
    );
    assert_eq!(calls[2]["item_id"], calls[3]["item"]["id"]);
    let last = &events.last().unwrap()["response"];
    assert_eq!((&last["status"], &last["output"][1]), (&"completed".into(), &calls[3]["item"]));
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
    }
}

#[tokio::test]
async fn results_for_an_agent_without_tools_are_refused_as_its_clients_fault() {
    let service = Service::new();
    let messages = json!([
        {"role": "user", "content": "how hot?"},
        {"role": "assistant", "tool_calls": [call("Oslo")]},
        {"role": "tool", "tool_call_id": "call_Oslo", "content": "snow"},
    ]);
    let answer = service.post(COMPLETIONS, &chat(json!({"messages": messages, "tools": []}))).await;
    assert!(answer.status == 400 && answer.body.contains("unsupported_parameter"), "{}", answer.body);
}

#[tokio::test]
async fn a_conversation_goes_on_without_the_call_that_was_deleted() {
    let service = Service::new();
    let first = service.post(RESPONSES, &response(json!({}))).await.json();
    let result = |city: &str| json!({"type": "function_call_output", "call_id": format!("call_{city}"), "output": "snow"});
    let results = [result("Oslo"), result("Bergen")];
    let second = response(json!({"previous_response_id": first["id"], "input": results}));
    let second = service.post(RESPONSES, &second).await.json();
    let path = format!("{RESPONSES}/{}", first["id"].as_str().unwrap());
    let deleted = service.send(request(Method::DELETE, &path, "", Body::empty())).await;
    assert_eq!(deleted.status, 200);
    let third = json!({"previous_response_id": second["id"], "input": "how hot?", "tools": []});
    let third = service.post(RESPONSES, &response(third)).await;
    assert_eq!(third.status, 200, "{}", third.body);
    let asked = service.doubles.agent.asked.lock().unwrap();
    assert_eq!(asked.last().unwrap().history.len(), 1, "the answer is left");
}

#[tokio::test]
async fn items_in_the_order_of_other_services_and_instructions_between_them_are_taken() {
    let service = Service::new();
    let called = json!({"type": "function_call", "call_id": "1", "name": "weather_in", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "1", "output": "snow"});
    let input = json!([
        {"role": "user", "content": "weather"},
        called,
        {"role": "assistant", "content": "Let me look."},
        result,
        {"role": "developer", "content": "Be kind."},
    ]);
    let answer = service.post(RESPONSES, &response(json!({ "input": input }))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let first = service.doubles.agent.asked.lock().unwrap()[0].clone();
    assert_eq!((first.history[0].joined_text().as_str(), first.since.len()), ("Be kind.", 2));
    let none = response(json!({"conversation": "talk", "tool_choice": "none", "input": "how hot?"}));
    assert_eq!(service.post(RESPONSES, &none).await.status, 200);
}
