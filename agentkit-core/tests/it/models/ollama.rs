//! The codec of Ollama's chats.

use std::time::Duration;

use agentkit_core::model::ollama::OllamaOptions;
use agentkit_core::model::ollama::codec::{OllamaChat, chat_body};
use agentkit_core::model::wire::{Frames, LineDecoder};
use agentkit_core::{Capabilities, ChatRequest, ErrorKind, FinishReason, Message, ToolSpec};
use proptest::prelude::*;
use serde_json::json;

use super::{
    broken_off_before, call, cuts, decode, delta, finished, misplaced, sound, streams, tool_conversation,
    understood, understood_however_cut, usage,
};

const TEXT: &str = concat!(
    r#"{"model":"m","created_at":"2026-01-02T03:04:05Z","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
    "\n",
    r#"{"model":"m","created_at":"2026-01-02T03:04:06Z","message":{"role":"assistant","content":"東京 "},"done":false,"logprobs":[]}"#,
    "\n\n",
    r#"{"model":"m","created_at":"2026-01-02T03:04:07Z","message":{"role":"assistant","content":"🙂"},"done":false}"#,
    "\r\n",
    r#"{"model":"m","created_at":"2026-01-02T03:04:08Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"length","total_duration":5,"prompt_eval_count":11,"eval_count":2}"#,
    "\n",
);

const TOOLS: &str = concat!(
    r#"{"created_at":"t0","message":{"role":"assistant","content":"Let me see.","tool_calls":[{"function":{"index":0,"name":"search","arguments":{"q":"größe"}}},{"id":"call_x","function":{"name":"now","arguments":{}}}]},"done":false}"#,
    "\n",
    r#"{"created_at":"t1","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"now"}}]},"done":false}"#,
    "\n",
    r#"{"created_at":"t2","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":9}"#,
);

#[test]
fn recorded_answers_are_understood_wherever_they_are_cut() {
    let text = [delta("東京 "), delta("🙂"), usage(11, 2), finished(FinishReason::Length)];
    understood_however_cut::<OllamaChat>(TEXT, &text);
    let tools = [
        delta("Let me see."),
        call("call_t0_0", "search", json!({"q": "größe"})),
        call("call_x", "now", json!({})),
        call("call_t0_2", "now", json!({})),
        usage(0, 9),
        finished(FinishReason::ToolCalls),
    ];
    understood_however_cut::<OllamaChat>(TOOLS, &tools);
    broken_off_before::<OllamaChat>(TEXT, "}\n");
}

#[test]
fn odd_answers_are_read_as_they_are_meant() {
    let text = r#"{"message":{"content":"x","tool_calls":[{"function":{"name":"a","arguments":"{\"n\":1}"}},{"function":{"name":"b","arguments":"oops"}}]}}"#;
    let events = understood::<OllamaChat>(&format!("{text}\n{{\"done\":true}}\nnonsense behind the end\n"));
    let calls = [call("call__0", "a", json!({"n": 1})), call("call__1", "b", json!("oops"))];
    assert_eq!(events[..3], [[delta("x")].as_slice(), &calls].concat());
    assert_eq!(events[3..], [finished(FinishReason::ToolCalls)]);
}

#[test]
fn errors_in_the_middle_end_the_answer() {
    let begin = r#"{"message":{"content":"one"},"done":false}"#;
    for line in [r#"{"error":"the model runner has stopped"}"#, "<html>", "3", r#"{"message":"no object"}"#] {
        let events = decode::<OllamaChat>([format!("{begin}\n{line}\n{begin}\n").as_bytes()]);
        assert_eq!(events, [Ok(delta("one")), Err(ErrorKind::Unavailable)], "{line}");
    }
    let long = vec![b'x'; 1024 * 1024];
    let endless = std::iter::repeat_n(long.as_slice(), 5);
    assert_eq!(decode::<OllamaChat>(endless), [Err(ErrorKind::ResourceExhausted)]);
    let call = r#"{"message":{"tool_calls":[{"function":{"name":"a"}}]}}"#;
    let many = [call, "\n"].concat().repeat(129);
    assert_eq!(decode::<OllamaChat>([many.as_bytes()]).last(), Some(&Err(ErrorKind::ResourceExhausted)));
}

proptest! {
    #[test]
    fn any_bytes_end_once_however_they_are_cut(
        stream in streams(&[
            "{\"message\":{\"content\":\"x\"},\"done\":false}\n",
            "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"n\"}}]}}\r\n",
            "{\"done\":true,\"done_reason\":\"stop\",\"eval_count\":1}\n",
            "{\"error\":\"busy\"}\n",
        ]),
        cuts in cuts(),
    ) {
        sound::<OllamaChat>(&stream, &cuts)?;
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut(text in "[ab\r\n ]{0,40}", at in any::<prop::sample::Index>()) {
        let lines = |pieces: &[&[u8]]| {
            let mut decoder = LineDecoder::default();
            for piece in pieces {
                decoder.push(piece);
            }
            decoder.finish();
            std::iter::from_fn(|| decoder.next_frame()).map(|line| line.unwrap().data).collect::<Vec<_>>()
        };
        let expected: Vec<_> = text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect();
        let (head, tail) = text.as_bytes().split_at(at.index(text.len() + 1));
        prop_assert_eq!(lines(&[head, tail]), expected);
    }
}

#[test]
fn a_conversation_with_tools_becomes_the_wire_format() {
    let mut request = ChatRequest::new(tool_conversation());
    let parameters = json!({"type": "object"});
    request.tools = vec![ToolSpec { name: "search".into(), description: "Finds.".into(), parameters }];
    (request.stop, request.temperature, request.seed) = (vec!["END".into()], Some(0.7), Some(3));
    request.max_tokens = Some(7);
    let options = OllamaOptions::new("m").context_tokens(4096).keep_alive(Duration::from_secs(90));
    let expected = json!({
        "model": "m", "stream": true, "keep_alive": "90000ms",
        "options": {"num_ctx": 4096, "num_predict": 7, "temperature": 0.7, "stop": ["END"], "seed": 3},
        "tools": [{"type": "function", "function":
            {"name": "search", "description": "Finds.", "parameters": {"type": "object"}}}],
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is tea?"},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"id": "1", "function": {"name": "search", "arguments": {"q": "tea"}}},
                {"id": "2", "function": {"name": "search", "arguments": {"malformed_arguments": "{oops"}}},
            ]},
            {"role": "tool", "content": "a leaf", "tool_call_id": "1", "tool_name": "search"},
            {"role": "tool", "content": "error: no json", "tool_call_id": "2", "tool_name": "search"},
            {"role": "user", "content": "and mate?"},
        ],
    });
    assert_eq!(chat_body(&options, &request).unwrap(), expected);
}

#[test]
fn requests_that_cannot_be_said_are_refused() {
    let options = OllamaOptions::new("m");
    let refusal = |messages| chat_body(&options, &ChatRequest::new(messages)).unwrap_err();
    assert!(refusal(Vec::new()).is_invalid_input());
    for message in misplaced() {
        assert!(refusal(vec![message]).is_invalid_input());
    }
    let mut request = ChatRequest::new(vec![Message::user("x")]);
    request.tools = vec![ToolSpec { name: "t".into(), description: "t".into(), parameters: json!({}) }];
    let without = options.clone().capabilities(Capabilities::default());
    assert_eq!(chat_body(&without, &request).unwrap_err().kind(), ErrorKind::Unsupported);
}
