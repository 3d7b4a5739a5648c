//! The codec of Anthropic's Messages.

use agentkit_core::model::anthropic::AnthropicOptions;
use agentkit_core::model::anthropic::codec::{Messages, messages_body};
use agentkit_core::{Capabilities, ChatRequest, ErrorKind, FinishReason, Message, Role, ToolSpec};
use proptest::prelude::*;
use serde_json::json;

use super::{
    broken_off_before, call, cuts, decode, delta, finished, frames, misplaced, said, sound, streams,
    tool_conversation, understood, understood_however_cut, usage,
};

/// Thinking, text and two calls, one without arguments; with pings, and fields and events that nobody knows.
const TOOLS: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":2,"cache_read_input_tokens":30,"output_tokens":1,"service_tier":"standard"}}}

event: ping
data: {"type":"ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"abc"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Größe: "}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"東京 🙂","new_field":[1]}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"search","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"q\": \"gr"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"öße\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"now","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: brand_new_event
data: {"type":"brand_new_event","index":"what?"}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":57}}

event: message_stop
data: {"type":"message_stop"}

"#;

const STOP: &str = r#"{"type":"message_stop"}"#;

#[test]
fn a_recorded_answer_is_understood_wherever_it_is_cut() {
    let expected = [
        delta("Größe: "),
        delta("東京 🙂"),
        call("toolu_1", "search", json!({"q": "größe"})),
        call("toolu_2", "now", json!({})),
        usage(42, 57),
        finished(FinishReason::ToolCalls),
    ];
    understood_however_cut::<Messages>(TOOLS, &expected);
    broken_off_before::<Messages>(TOOLS, "{\"type\":\"message_delta\"");
}

#[test]
fn every_reason_to_stop_has_its_meaning() {
    for (reason, expected) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("pause_turn", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("refusal", FinishReason::ContentFilter),
        ("something_new", FinishReason::Stop),
    ] {
        let end = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}}}}"#);
        // The reason is enough: a body that lacks the last event is whole.
        assert_eq!(understood::<Messages>(&frames(&[&end])), [finished(expected)], "{reason}");
        assert_eq!(understood::<Messages>(&frames(&[&end, STOP, STOP])), [finished(expected)], "{reason}");
    }
}

#[test]
fn odd_streams_are_read_as_they_are_meant() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"a","input":{"n":1}}}"#;
    let piece = r#"{"type":"content_block_delta","index":7,"delta":{"type":"input_json_delta","partial_json":"{oops"}}"#;
    let begun =
        r#"{"type":"content_block_start","index":7,"content_block":{"type":"tool_use","id":"x","name":"b"}}"#;
    let ends = finished(FinishReason::ToolCalls);
    // A gateway that knows the input beforehand and gives no id; a block that is never ended; bad JSON.
    let events = understood::<Messages>(&frames(&[start, begun, piece, STOP]));
    assert_eq!(events, [call("call__0", "a", json!({"n": 1})), call("x", "b", json!("{oops")), ends]);
    let late = r#"{"type":"message_delta","delta":{},"usage":{"input_tokens":3,"output_tokens":4}}"#;
    assert_eq!(
        understood::<Messages>(&frames(&[piece, late, STOP])),
        [usage(3, 4), finished(FinishReason::Stop)]
    );
    let text = r#"{"type":"content_block_start","content_block":{"type":"text","text":"hi"}}"#;
    assert_eq!(understood::<Messages>(&frames(&[text, STOP])), [delta("hi"), finished(FinishReason::Stop)]);
}

#[test]
fn errors_in_the_middle_end_the_answer() {
    let begin = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"one"}}"#;
    for (name, kind) in [
        ("overloaded_error", ErrorKind::Unavailable),
        ("api_error", ErrorKind::Unavailable),
        ("rate_limit_error", ErrorKind::RateLimited),
        ("authentication_error", ErrorKind::Unauthorized),
        ("permission_error", ErrorKind::Unauthorized),
        ("invalid_request_error", ErrorKind::InvalidInput),
        ("request_too_large", ErrorKind::InvalidInput),
        ("not_found_error", ErrorKind::NotFound),
    ] {
        let error = format!(r#"{{"type":"error","error":{{"type":"{name}","message":"m"}}}}"#);
        let events = decode::<Messages>([frames(&[begin, &error, begin, STOP]).as_bytes()]);
        assert_eq!(events, [Ok(delta("one")), Err(kind)], "{name}");
    }
    for nonsense in ["<html>", "3", r#"{"type":"message_delta","delta":3}"#, r#"{"no":"type"}"#] {
        let events = decode::<Messages>([frames(&[begin, nonsense]).as_bytes()]);
        assert_eq!(events, [Ok(delta("one")), Err(ErrorKind::Unavailable)], "{nonsense}");
    }
}

#[test]
fn endless_calls_are_cut_off() {
    let begun =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"x","name":"b"}}"#;
    let long = "x".repeat(100_000);
    let piece = format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":"{long}"}}}}"#
    );
    let mut all = vec![begun];
    all.extend(std::iter::repeat_n(piece.as_str(), 11));
    assert_eq!(decode::<Messages>([frames(&all).as_bytes()]), [Err(ErrorKind::ResourceExhausted)]);
    let many = frames(&vec![begun; 129]);
    assert_eq!(decode::<Messages>([many.as_bytes()]), [Err(ErrorKind::ResourceExhausted)]);
}

proptest! {
    #[test]
    fn any_bytes_end_once_however_they_are_cut(
        stream in streams(&[
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"n\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}}\r\n\r\n",
            "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
        ]),
        cuts in cuts(),
    ) {
        sound::<Messages>(&stream, &cuts)?;
    }
}

#[test]
fn a_conversation_with_tools_becomes_the_wire_format() {
    let mut request = ChatRequest::new(tool_conversation());
    let parameters = json!({"type": "object"});
    request.tools = vec![ToolSpec { name: "search".into(), description: "Finds.".into(), parameters }];
    (request.stop, request.temperature, request.seed) = (vec!["END".into()], Some(0.7), Some(3));
    let options = AnthropicOptions::new("m", "k");
    let expected = json!({
        "model": "m", "max_tokens": 4096, "system": "be brief", "stream": true,
        "stop_sequences": ["END"], "temperature": 0.7,
        "tools": [{"name": "search", "description": "Finds.", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "what is tea?"}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "1", "name": "search", "input": {"q": "tea"}},
                {"type": "tool_use", "id": "2", "name": "search", "input": {"malformed_arguments": "{oops"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "a leaf"},
                {"type": "tool_result", "tool_use_id": "2", "content": "no json", "is_error": true},
                {"type": "text", "text": "and mate?"},
            ]},
        ],
    });
    assert_eq!(messages_body(&options, &request).unwrap(), expected);
    request.max_tokens = Some(7);
    assert_eq!(messages_body(&options, &request).unwrap()["max_tokens"], 7);
}

#[test]
fn requests_that_cannot_be_said_are_refused() {
    let options = AnthropicOptions::new("m", "k");
    let refusal = |messages| messages_body(&options, &ChatRequest::new(messages)).unwrap_err();
    assert!(refusal(Vec::new()).is_invalid_input());
    assert!(refusal(vec![Message::system("only this")]).message().contains("nothing but instructions"));
    assert!(refusal(vec![Message::user(" \n")]).is_invalid_input());
    for message in misplaced() {
        assert!(refusal(vec![Message::user("x"), message]).is_invalid_input());
    }
    let mut request =
        ChatRequest::new(vec![Message::user("x"), said(Role::Assistant, Vec::new()), Message::user("y")]);
    let body = messages_body(&options, &request).unwrap();
    assert_eq!(body["messages"].as_array().unwrap().len(), 2, "an empty message is left out: {body}");
    request.tools = vec![ToolSpec { name: "t".into(), description: "t".into(), parameters: json!({}) }];
    let without = options.clone().capabilities(Capabilities::default());
    assert_eq!(messages_body(&without, &request).unwrap_err().kind(), ErrorKind::Unsupported);
}
