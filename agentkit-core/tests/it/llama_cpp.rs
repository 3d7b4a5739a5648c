//! The OpenAI client against a real llama.cpp server, which `AGENTKIT_LLAMA_SERVER` names, for example
//! `http://127.0.0.1:8080/v1`.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::time::{Duration, Instant};

use agentkit_core::model::openai::{OpenAiModel, OpenAiOptions};
use agentkit_core::testing::conformance;
use agentkit_core::{Capabilities, ChatEvent, ChatModel, ChatRequest, Message, RunContext, complete};

/// The model, or a note that there is none.
fn model() -> Option<OpenAiModel> {
    let Some(url) = std::env::var_os("AGENTKIT_LLAMA_SERVER") else {
        println!("skipped: AGENTKIT_LLAMA_SERVER does not name the address of a llama.cpp server");
        return None;
    };
    let options = OpenAiOptions::new(url.to_string_lossy(), "smollm2-135m");
    Some(OpenAiModel::new(options.capabilities(Capabilities::default())).unwrap())
}

fn asked(question: &str, most: u32) -> ChatRequest {
    let mut request = ChatRequest::new(vec![Message::user(question)]);
    (request.max_tokens, request.temperature) = (Some(most), Some(0.0));
    request
}

#[tokio::test]
async fn a_real_server_keeps_the_contract() {
    let Some(model) = model() else { return };
    conformance::chat_model(&model).await;
}

#[tokio::test]
async fn a_real_server_answers_in_pieces_and_states_usage() {
    let Some(model) = model() else { return };
    let mut stream =
        model.stream(asked("Write a short poem about tea.", 40), &RunContext::new()).await.unwrap();
    let (mut deltas, mut text, mut usage) = (0, String::new(), None);
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            ChatEvent::Delta { text: more } => {
                deltas += 1;
                text.push_str(&more);
            }
            ChatEvent::Usage(found) => usage = Some(found),
            _ => {}
        }
    }
    assert!(deltas > 5, "{deltas} pieces of {text:?}");
    let usage = usage.unwrap();
    assert!(usage.input_tokens > 5 && (5..=60).contains(&usage.output_tokens), "{usage:?}");
}

#[tokio::test]
async fn cancelling_ends_a_real_stream_at_once_and_the_server_goes_on() {
    let Some(model) = model() else { return };
    let ctx = RunContext::new();
    let mut stream = model.stream(asked("Tell me a very long story.", 1000), &ctx).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let begun = Instant::now();
    ctx.cancel();
    while let Some(event) = stream.next().await {
        if let Err(error) = event {
            assert!(error.is_stopped(), "{error}");
        }
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    let again = complete(&model, asked("Say hello.", 8), &RunContext::new()).await.unwrap();
    assert!(!again.text.is_empty());
}
