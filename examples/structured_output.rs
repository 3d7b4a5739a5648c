//! A Rust type in, a checked value out: the model's first answer does not fit, it is told why, and mends it.
//!
//! A scripted model stands in for a hosted one. With the address of an OpenAI-compatible server and a model's name, that
//! model is asked, by its own means if it has some.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::model::openai::{OpenAiModel, OpenAiOptions};
use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Capabilities, ChatModel, ChatRequest, Message, OutputMode, Result, RunContext, StructuredOutput,
};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
struct Recipe {
    /// What it is called.
    name: String,
    /// How long it takes, from the first step to the table.
    #[schemars(range(min = 1, max = 600))]
    minutes: u32,
    ingredients: Vec<Ingredient>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Ingredient {
    name: String,
    grams: f32,
}

/// What a model might say: minutes in words first, and then as asked.
fn scripted() -> ScriptedModel {
    ScriptedModel::new([
        ScriptedTurn::text(
            r#"Gladly! {"name": "Shortbread", "minutes": "an hour", "ingredients": [{"name": "flour", "grams": 300}]}"#,
        ),
        ScriptedTurn::text(
            r#"```json
{"name": "Shortbread", "minutes": 60, "ingredients": [{"name": "flour", "grams": 300}, {"name": "butter", "grams": 200}]}
```"#,
        ),
    ])
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, mode): (Arc<dyn ChatModel>, _) = match arguments.as_slice() {
        [url, name, ..] => {
            let abilities = Capabilities::default().with_structured_output();
            let options = OpenAiOptions::new(url, name).capabilities(abilities);
            (Arc::new(OpenAiModel::new(options)?), OutputMode::Auto)
        }
        _ => (Arc::new(scripted()), OutputMode::Prompt),
    };
    let request = ChatRequest::new(vec![Message::user("How is shortbread made?")]);
    let output = StructuredOutput::new("recipe").mode(mode).repairs(2);
    let answer = output.ask::<Recipe>(&*model, request, &RunContext::new()).await?;
    let Recipe { name, minutes, ingredients } = answer.value;
    println!("{name}, {minutes} minutes, mended {} time(s)", answer.repairs);
    for Ingredient { name, grams } in ingredients {
        println!("- {grams} g of {name}");
    }
    Ok(())
}
