//! Which tools are to be called, in the words of every interface.

use agentkit_core::model::anthropic::{AnthropicOptions, codec::messages_body};
use agentkit_core::model::ollama::{OllamaOptions, codec::chat_body as ollama_body};
use agentkit_core::model::openai::codec::chat_body;
use agentkit_core::model::openai::{OpenAiOptions, responses::codec::responses_body};
use agentkit_core::{ChatRequest, ErrorKind, Message, ToolChoice, ToolSpec};
use serde_json::{Value, json};

fn request(choice: ToolChoice, parallel: Option<bool>) -> ChatRequest {
    let mut request = ChatRequest::new(vec![Message::user("hi")]);
    let parameters = json!({"type": "object"});
    request.tools = vec![ToolSpec { name: "look".into(), description: "Looks.".into(), parameters }];
    (request.tool_choice, request.parallel_tool_calls) = (choice, parallel);
    request
}

/// A member of a body, null if it is left out.
fn member(body: &Value, name: &str) -> Value {
    body.get(name).cloned().unwrap_or_default()
}

#[test]
fn a_choice_is_said_in_the_words_of_each_interface() {
    let named = || ToolChoice::Tool("look".into());
    let (open, anthropic) = (OpenAiOptions::new("http://h", "m"), AnthropicOptions::new("m", "k"));
    for (choice, chat, responses, messages) in [
        (ToolChoice::Auto, Value::Null, Value::Null, Value::Null),
        (ToolChoice::None, json!("none"), json!("none"), json!({"type": "none"})),
        (ToolChoice::Required, json!("required"), json!("required"), json!({"type": "any"})),
        (
            named(),
            json!({"type": "function", "function": {"name": "look"}}),
            json!({"type": "function", "name": "look"}),
            json!({"type": "tool", "name": "look"}),
        ),
    ] {
        let request = request(choice, None);
        for (body, expected) in [
            (chat_body(&open, &request), chat),
            (responses_body(&open, &request), responses),
            (messages_body(&anthropic, &request), messages),
        ] {
            let body = body.unwrap();
            assert_eq!(member(&body, "tool_choice"), expected);
            assert_eq!(member(&body, "parallel_tool_calls"), Value::Null);
        }
    }
}

#[test]
fn one_call_at_a_time_is_said_where_it_can_be() {
    let (open, anthropic) = (OpenAiOptions::new("http://h", "m"), AnthropicOptions::new("m", "k"));
    let single = request(ToolChoice::Auto, Some(false));
    assert_eq!(chat_body(&open, &single).unwrap()["parallel_tool_calls"], false);
    assert_eq!(responses_body(&open, &single).unwrap()["parallel_tool_calls"], false);
    let expected = json!({"type": "auto", "disable_parallel_tool_use": true});
    assert_eq!(messages_body(&anthropic, &single).unwrap()["tool_choice"], expected);
    let mut without = single;
    without.tools.clear();
    without.tool_choice = ToolChoice::Required;
    for body in [chat_body(&open, &without), messages_body(&anthropic, &without)] {
        let body = body.unwrap();
        assert_eq!(
            (member(&body, "tool_choice"), member(&body, "parallel_tool_calls")),
            (Value::Null, Value::Null)
        );
    }
}

#[test]
fn ollama_cannot_be_told_what_to_call() {
    let body = |choice, parallel| ollama_body(&OllamaOptions::new("m"), &request(choice, parallel));
    for forced in [body(ToolChoice::Required, None), body(ToolChoice::Tool("look".into()), None)] {
        assert_eq!(forced.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(body(ToolChoice::Auto, Some(false)).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(body(ToolChoice::Auto, Some(true)).unwrap()["tools"].as_array().unwrap().len(), 1);
    assert_eq!(member(&body(ToolChoice::None, None).unwrap(), "tools"), Value::Null);
}
