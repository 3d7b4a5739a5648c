//! Values of a type out of models that answer in every way but the right one.

use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
use agentkit_core::{
    Capabilities, ChatRequest, Error, ErrorKind, Message, ModelInfo, OutputMode, Result, RunContext,
    Structured, StructuredOutput, validate_history,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct City {
    name: String,
    #[schemars(range(min = 1))]
    inhabitants: u64,
    #[serde(default)]
    river: Option<String>,
}

const OSLO: &str = r#"{"name": "Oslo", "inhabitants": 717710}"#;

async fn ask(model: &ScriptedModel, mode: OutputMode) -> Result<Structured<City>> {
    let request = ChatRequest::new(vec![Message::user("the capital of Norway?")]);
    let city = StructuredOutput::new("city").mode(mode).ask(model, request, &RunContext::new()).await;
    for request in model.requests() {
        validate_history(&request.messages).unwrap();
    }
    city
}

fn can(capabilities: Capabilities, turns: impl IntoIterator<Item = ScriptedTurn>) -> ScriptedModel {
    ScriptedModel::new(turns).described(ModelInfo::new("agentkit", "able", 1000).capabilities(capabilities))
}

#[tokio::test]
async fn the_best_way_that_the_model_knows_is_taken() {
    let native =
        can(Capabilities::default().with_tools().with_structured_output(), [ScriptedTurn::text(OSLO)]);
    assert_eq!(ask(&native, OutputMode::Auto).await.unwrap().value.inhabitants, 717_710);
    let schema = native.requests()[0].output_schema.clone().unwrap();
    assert_eq!((schema.name.as_str(), &schema.schema["type"]), ("city", &json!("object")));

    let call =
        ScriptedTurn::tool_call("1", "city", json!({"name": "Oslo", "inhabitants": 7, "river": "Aker"}));
    let tools = can(Capabilities::default().with_tools(), [call]);
    assert_eq!(ask(&tools, OutputMode::Auto).await.unwrap().value.river.as_deref(), Some("Aker"));
    assert_eq!(tools.requests()[0].tools[0].name, "city");

    let plain = can(Capabilities::default(), [ScriptedTurn::text(format!("Sure!\n```json\n{OSLO}\n```"))]);
    assert_eq!(ask(&plain, OutputMode::Auto).await.unwrap().value.name, "Oslo");
    assert!(plain.requests()[0].messages[1].joined_text().contains("\"inhabitants\""));
}

#[tokio::test]
async fn a_mode_that_the_model_does_not_know_is_refused() {
    for mode in [OutputMode::Native, OutputMode::Tool] {
        let error = ask(&can(Capabilities::default(), []), mode).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    let request = || ChatRequest::new(vec![Message::user("a number?")]);
    let (model, ctx) = (can(Capabilities::default(), []), RunContext::new());
    let number = StructuredOutput::new("number").ask::<u64>(&model, request(), &ctx).await;
    assert!(number.unwrap_err().is_invalid_input());
    let misnamed = StructuredOutput::new("two words").ask::<City>(&model, request(), &ctx).await;
    assert!(misnamed.unwrap_err().is_invalid_input());
}

#[tokio::test]
async fn the_model_is_told_what_is_wrong_and_mends_it() {
    let wrong = [
        ("I do not know.", "no JSON object"),
        (r#"{"name": "Oslo", "#, "no JSON"),
        (r#"{"name": "Oslo", "inhabitants": 0}"#, "at /inhabitants: 0 is less than"),
        (r#"{"name": "Oslo"}"#, "\"inhabitants\" is a required property"),
        ("", "no JSON object"),
    ];
    for (text, fault) in wrong {
        let model = can(Capabilities::default(), [ScriptedTurn::text(text), ScriptedTurn::text(OSLO)]);
        let city = ask(&model, OutputMode::Auto).await.unwrap();
        assert_eq!((city.repairs, city.usage.input_tokens), (1, 2));
        let told = model.requests()[1].messages.last().unwrap().joined_text();
        assert!(told.contains(fault), "{text:?} should be told {fault:?}, but is told {told:?}");
    }
    for turn in [
        ScriptedTurn::text("Oslo"),
        ScriptedTurn::tool_call("1", "city", json!("{")),
        ScriptedTurn::tool_call("1", "town", json!({})),
    ] {
        let good = ScriptedTurn::tool_call("2", "city", json!({"name": "Oslo", "inhabitants": 7}));
        let model = can(Capabilities::default().with_tools(), [turn, good]);
        assert_eq!(ask(&model, OutputMode::Auto).await.unwrap().repairs, 1);
    }
}

#[tokio::test]
async fn repairs_are_bounded_and_what_stops_the_model_stops_them() {
    let model = ScriptedModel::saying("no");
    let error = ask(&model, OutputMode::Prompt).await.unwrap_err();
    assert!(error.is_retryable() && error.message().contains("after 2 repairs"), "{error:?}");
    assert_eq!(model.requests().len(), 3);
    let gone = ScriptedModel::new([ScriptedTurn::refuse(Error::new(ErrorKind::Unavailable, "gone"))]);
    assert_eq!(ask(&gone, OutputMode::Prompt).await.unwrap_err().message(), "gone");
    let poor = RunContext::new().with_token_budget(1);
    let request = ChatRequest::new(vec![Message::user("x")]);
    let spent = StructuredOutput::new("city").ask::<City>(&ScriptedModel::saying("no"), request, &poor).await;
    assert_eq!(spent.unwrap_err().kind(), ErrorKind::BudgetExhausted);
}
