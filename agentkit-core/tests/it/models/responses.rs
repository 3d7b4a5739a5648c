//! The codec of the Responses interface.

use agentkit_core::model::openai::OpenAiOptions;
use agentkit_core::model::openai::responses::codec::{Responses, responses_body};
use agentkit_core::{Capabilities, ChatRequest, ErrorKind, FinishReason, Message, ToolSpec};
use proptest::prelude::*;
use serde_json::json;

use super::{
    broken_off_before, call, cuts, decode, delta, finished, frames, misplaced, sound, streams,
    tool_conversation, understood, understood_however_cut, usage,
};

/// Reasoning, text and a call, with the events around them and one that nobody knows.
const TOOLS: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","status":"in_progress"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}

event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"hm"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":5,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":6,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"東京 ","logprobs":[]}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":7,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"🙂","obfuscation":"x7"}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":8,"item_id":"msg_1","output_index":1,"content_index":0,"text":"東京 🙂"}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":9,"item_id":"fc_1","output_index":2,"delta":"{\"q\":"}

event: response.brand_new
data: {"type":"response.brand_new","sequence_number":10,"delta":{"not":"text"},"item":7}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":11,"output_index":2,"item":{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"search","arguments":"{\"q\":\"größe\"}"}}

event: response.completed
data: {"type":"response.completed","sequence_number":12,"response":{"id":"resp_1","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message","content":[]},{"id":"fc_1","type":"function_call","call_id":"call_1","name":"search","arguments":"{\"q\":\"größe\"}"}],"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":4},"output_tokens":30,"total_tokens":42}}}

"#;

const TEXT: &str = r#"{"type":"response.output_text.delta","delta":"one"}"#;
const DONE: &str = r#"{"type":"response.completed","response":{}}"#;

#[test]
fn a_recorded_answer_is_understood_wherever_it_is_cut() {
    let expected = [
        delta("東京 "),
        delta("🙂"),
        call("call_1", "search", json!({"q": "größe"})),
        usage(12, 30),
        finished(FinishReason::ToolCalls),
    ];
    understood_however_cut::<Responses>(TOOLS, &expected);
    broken_off_before::<Responses>(TOOLS, "}}\n\n");
}

#[test]
fn an_incomplete_answer_says_why() {
    for (details, reason) in [
        (r#"{"reason":"max_output_tokens"}"#, FinishReason::Length),
        (r#"{"reason":"content_filter"}"#, FinishReason::ContentFilter),
        ("null", FinishReason::Length),
    ] {
        let end = format!(
            r#"{{"type":"response.incomplete","response":{{"incomplete_details":{details},"usage":{{"input_tokens":1,"output_tokens":2}}}}}}"#
        );
        let events = understood::<Responses>(&frames(&[TEXT, &end, TEXT]));
        assert_eq!(events, [delta("one"), usage(1, 2), finished(reason)], "{details}");
    }
    let bare = r#"{"type":"response.incomplete"}"#;
    assert_eq!(understood::<Responses>(&frames(&[bare])), [finished(FinishReason::Length)]);
}

#[test]
fn odd_streams_are_read_as_they_are_meant() {
    let refusal = r#"{"type":"response.refusal.delta","delta":"no"}"#;
    let ends = finished(FinishReason::ContentFilter);
    assert_eq!(understood::<Responses>(&frames(&[refusal, DONE])), [delta("no"), ends]);
    // The name may stand in the event's own field, and calls only in the end, or without ids.
    let named = "event: response.output_text.delta\ndata: {\"delta\":\"one\"}\n\n";
    let late = r#"{"type":"response.completed","response":{"output":[{"type":"function_call","call_id":"c","name":"n","arguments":""}]}}"#;
    let events = understood::<Responses>(&format!("{named}{}", frames(&[late, "[DONE]"])));
    assert_eq!(events, [delta("one"), call("c", "n", json!({})), finished(FinishReason::ToolCalls)]);
    let nameless = r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"n","arguments":"{oops"}}"#;
    let events = understood::<Responses>(&frames(&[nameless, nameless, DONE]));
    let calls = [call("call__0", "n", json!("{oops")), call("call__1", "n", json!("{oops"))];
    assert_eq!(events[..2], calls);
}

#[test]
fn errors_in_the_middle_end_the_answer() {
    for (event, kind) in [
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}"#,
            ErrorKind::RateLimited,
        ),
        (r#"{"type":"error","code":null,"message":"m"}"#, ErrorKind::Unavailable),
        (
            r#"{"type":"error","error":{"type":"invalid_request_error","code":null,"message":"m"}}"#,
            ErrorKind::InvalidInput,
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#,
            ErrorKind::Unavailable,
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"insufficient_quota"}}}"#,
            ErrorKind::ResourceExhausted,
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"context_length_exceeded"}}}"#,
            ErrorKind::InvalidInput,
        ),
        (r#"{"type":"response.failed"}"#, ErrorKind::Unavailable),
        (r#"{"error":{"message":"m","code":401}}"#, ErrorKind::Unauthorized),
        (r#"{"type":"response.completed","response":3}"#, ErrorKind::Unavailable),
        ("<html>", ErrorKind::Unavailable),
    ] {
        let events = decode::<Responses>([frames(&[TEXT, event, TEXT, DONE]).as_bytes()]);
        assert_eq!(events, [Ok(delta("one")), Err(kind)], "{event}");
    }
}

#[test]
fn too_many_and_too_long_calls_are_cut_off() {
    let item = |id: usize, arguments: &str| {
        format!(
            r#"{{"type":"response.output_item.done","item":{{"type":"function_call","call_id":"{id}","name":"n","arguments":"{arguments}"}}}}"#
        )
    };
    let many: Vec<String> = (0..129).map(|id| item(id, "")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        decode::<Responses>([frames(&many).as_bytes()]).last(),
        Some(&Err(ErrorKind::ResourceExhausted))
    );
    let long = item(1, &"x".repeat(1024 * 1024));
    assert_eq!(decode::<Responses>([frames(&[&long]).as_bytes()]), [Err(ErrorKind::ResourceExhausted)]);
}

proptest! {
    #[test]
    fn any_bytes_end_once_however_they_are_cut(
        stream in streams(&[
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n",
            "event: response.refusal.delta\r\ndata: {\"delta\":\"no\"}\r\n\r\n",
            "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"call_id\":\"i\",\"arguments\":\"{\"}}\n\n",
            "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1}}}\n\n",
            "data: {\"type\":\"response.incomplete\"}\n\n",
            "data: {\"type\":\"error\",\"message\":\"m\"}\n\n",
        ]),
        cuts in cuts(),
    ) {
        sound::<Responses>(&stream, &cuts)?;
    }
}

#[test]
fn a_conversation_with_tools_becomes_the_wire_format() {
    let mut request = ChatRequest::new(tool_conversation());
    let parameters = json!({"type": "object"});
    request.tools = vec![ToolSpec { name: "search".into(), description: "Finds.".into(), parameters }];
    (request.temperature, request.seed, request.max_tokens) = (Some(0.7), Some(3), Some(7));
    let expected = json!({
        "model": "m", "stream": true, "store": false, "temperature": 0.7, "max_output_tokens": 7,
        "tools": [{"type": "function", "name": "search", "description": "Finds.",
            "parameters": {"type": "object"}, "strict": false}],
        "input": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is tea?"},
            {"role": "assistant", "content": "Let me see."},
            {"type": "function_call", "call_id": "1", "name": "search", "arguments": "{\"q\":\"tea\"}"},
            {"type": "function_call", "call_id": "2", "name": "search", "arguments": "{oops"},
            {"type": "function_call_output", "call_id": "1", "output": "a leaf"},
            {"type": "function_call_output", "call_id": "2", "output": "error: no json"},
            {"role": "user", "content": "and mate?"},
        ],
    });
    assert_eq!(responses_body(&OpenAiOptions::new("http://h", "m"), &request).unwrap(), expected);
}

#[test]
fn requests_that_cannot_be_said_are_refused() {
    let options = OpenAiOptions::new("http://h", "m");
    let refusal = |messages| responses_body(&options, &ChatRequest::new(messages)).unwrap_err();
    assert!(refusal(Vec::new()).is_invalid_input());
    for message in misplaced() {
        assert!(refusal(vec![message]).is_invalid_input());
    }
    let mut request = ChatRequest::new(vec![Message::user("x")]);
    request.stop = vec!["END".into()];
    assert_eq!(responses_body(&options, &request).unwrap_err().kind(), ErrorKind::Unsupported);
    request.stop.clear();
    request.tools = vec![ToolSpec { name: "t".into(), description: "t".into(), parameters: json!({}) }];
    let without = options.clone().capabilities(Capabilities::default());
    assert_eq!(responses_body(&without, &request).unwrap_err().kind(), ErrorKind::Unsupported);
}
