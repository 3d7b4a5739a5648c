//! Talks to a chat model in this process: an answer as it is made, a second turn, and a value of a given form.
//!
//! Needs SmolLM2-135M-Instruct; without it, and without a way to fetch it, it says so and ends.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::io::Write as _;

use agentkit_core::{
    ChatEvent, ChatModel, ChatRequest, Error, Message, OutputSchema, Result, RunContext, complete,
};
use agentkit_rag::chat::{LocalChat, LocalOptions, Sampling};
use agentkit_rag::models::{ModelSpec, ModelStore, NoProgress};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<()> {
    let ctx = RunContext::new();
    let file = match ModelStore::from_env()?.fetch(&ModelSpec::smollm2(), &NoProgress, &ctx).await {
        Ok(file) => file,
        Err(error) => {
            println!("skipped: the model is not there ({})", error.message());
            return Ok(());
        }
    };
    let options = LocalOptions::default().sampling(Sampling::greedy()).max_tokens(40);
    let model = LocalChat::load_with(file, options).await?;
    let mut messages = vec![Message::user("Write a short poem about tea.")];
    let poem = say(&model, messages.clone(), &ctx).await?;
    messages.extend([Message::assistant(poem), Message::user("Now one about coffee.")]);
    say(&model, messages, &ctx).await?;
    println!("read again: nothing of {} tokens", model.stats().reused_tokens);
    println!("{}", person(&model, &ctx).await?);
    Ok(())
}

/// Prints the answer as it is made, and gives it.
async fn say(model: &LocalChat, messages: Vec<Message>, ctx: &RunContext) -> Result<String> {
    let mut stream = model.stream(ChatRequest::new(messages), ctx).await?;
    let (mut text, mut out) = (String::new(), std::io::stdout());
    while let Some(event) = stream.next().await {
        if let ChatEvent::Delta { text: more } = event? {
            write!(out, "{more}").and_then(|()| out.flush()).map_err(|error| Error::io("print", error))?;
            text.push_str(&more);
        }
    }
    println!();
    Ok(text)
}

/// An answer that is sure to be JSON of this form.
async fn person(model: &LocalChat, ctx: &RunContext) -> Result<String> {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 18, "maximum": 99},
        },
        "required": ["name", "age"],
    });
    let mut request = ChatRequest::new(vec![Message::user("Invent a person.")]);
    request.output_schema = Some(OutputSchema { name: "person".into(), schema });
    Ok(complete(model, request, ctx).await?.text)
}
