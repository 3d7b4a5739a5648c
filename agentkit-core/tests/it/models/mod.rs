//! The codecs and clients of Anthropic, Ollama and the Responses interface: recorded frames, odd ones, and servers.

mod anthropic;
mod http;
mod ollama;
mod responses;
mod tool_choice;

use agentkit_core::model::wire::{AnswerDecoder, Protocol};
use agentkit_core::{ChatEvent, ErrorKind, FinishReason, Message, Part, Role, ToolCall, ToolResult, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

type Events = Vec<Result<ChatEvent, ErrorKind>>;

fn decode<'b, P: Protocol>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Events {
    let mut decoder = AnswerDecoder::<P>::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        events.extend(std::iter::from_fn(|| decoder.next_event()));
    }
    decoder.finish();
    events.extend(std::iter::from_fn(|| decoder.next_event()));
    assert!(decoder.is_over());
    events.into_iter().map(|event| event.map_err(|error| error.kind())).collect()
}

/// Decodes an answer that has no error.
fn understood<P: Protocol>(body: &str) -> Vec<ChatEvent> {
    decode::<P>([body.as_bytes()]).into_iter().collect::<Result<_, _>>().unwrap()
}

/// A recorded answer is understood wherever it is cut, and by every byte on its own.
fn understood_however_cut<P: Protocol>(body: &str, expected: &[ChatEvent]) {
    let expected: Events = expected.iter().cloned().map(Ok).collect();
    let bytes = body.as_bytes();
    assert_eq!(decode::<P>(bytes.chunks(1)), expected);
    for at in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(decode::<P>([head, tail]), expected, "cut at {at}");
    }
}

/// An answer that breaks off before `end` is an error, whatever was said before.
fn broken_off_before<P: Protocol>(body: &str, end: &str) {
    for at in 0..body.rfind(end).unwrap() {
        let events = decode::<P>([&body.as_bytes()[..at]]);
        assert_eq!(events.last(), Some(&Err(ErrorKind::Unavailable)), "broken off at {at}");
    }
}

/// Bytes that look like the frames of a provider more often than chance would have it.
fn streams(frames: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        3 => proptest::sample::select(frames).prop_map(|frame| frame.as_bytes().to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"data: ".to_vec()),
        1 => Just("größe 🙂 \u{feff}".as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

/// Places to cut a stream at.
fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 0..6)
}

/// The events do not depend on the cuts, and exactly one of them, the last, ends the answer.
fn sound<P: Protocol>(stream: &[u8], cuts: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
    let events = decode::<P>([stream]);
    prop_assert_eq!(&decode::<P>(pieces), &events);
    let is_end =
        |event: &Result<ChatEvent, ErrorKind>| matches!(event, Err(_) | Ok(ChatEvent::Finished { .. }));
    prop_assert_eq!(events.iter().filter(|event| is_end(event)).count(), 1);
    prop_assert!(events.last().is_some_and(is_end));
    Ok(())
}

/// A body of server-sent events.
fn frames(events: &[&str]) -> String {
    events.iter().flat_map(|event| ["data: ", event, "\n\n"]).collect()
}

fn delta(text: &str) -> ChatEvent {
    ChatEvent::Delta { text: text.into() }
}

fn call(id: &str, name: &str, arguments: Value) -> ChatEvent {
    ChatEvent::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments })
}

fn usage(input_tokens: u64, output_tokens: u64) -> ChatEvent {
    ChatEvent::Usage(Usage { input_tokens, output_tokens })
}

fn finished(reason: FinishReason) -> ChatEvent {
    ChatEvent::Finished { reason }
}

fn said(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts }
}

fn asks(id: &str, arguments: Value) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: "search".into(), arguments })
}

fn result(id: &str, content: &str, is_error: bool) -> Part {
    Part::ToolResult(ToolResult { call_id: id.into(), content: content.into(), is_error })
}

/// Instructions, a question, two calls of which one is malformed, their results, and a second question.
fn tool_conversation() -> Vec<Message> {
    let text = Part::Text { text: "Let me see.".into() };
    vec![
        Message::system("be brief"),
        Message::user("what is tea?"),
        said(Role::Assistant, vec![text, asks("1", json!({"q": "tea"})), asks("2", json!("{oops"))]),
        said(Role::Tool, vec![result("1", "a leaf", false), result("2", "no json", true)]),
        Message::user("and mate?"),
    ]
}

/// Parts in messages of roles that cannot have them.
fn misplaced() -> Vec<Message> {
    vec![
        said(Role::User, vec![result("1", "x", false)]),
        said(Role::User, vec![asks("1", json!({}))]),
        said(Role::System, vec![asks("1", json!({}))]),
        Message::text(Role::Tool, "x"),
        said(Role::Tool, Vec::new()),
    ]
}
