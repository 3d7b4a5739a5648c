//! Chains of models and embedders.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::resilience::{Fallback, FallbackEmbedder};
use agentkit_core::testing::{HashingEmbedder, ScriptedModel, ScriptedTurn};
use agentkit_core::{Capabilities, ChatModel, ErrorKind, ModelInfo, RunContext, ToolSpec};
use serde_json::json;

use super::{FlakyEmbedder, answer, delta, embed, failing, failure, hello, scripted};

fn chain(first: Arc<ScriptedModel>, second: Arc<ScriptedModel>) -> Fallback {
    Fallback::new(first, [second as Arc<dyn ChatModel>])
}

#[tokio::test]
async fn the_next_model_answers_when_one_cannot() {
    for kind in [
        ErrorKind::Unavailable,
        ErrorKind::RateLimited,
        ErrorKind::Overloaded,
        ErrorKind::Unauthorized,
        ErrorKind::NotFound,
        ErrorKind::ResourceExhausted,
        ErrorKind::Internal,
    ] {
        let chain = chain(scripted([failing(kind)]), scripted([ScriptedTurn::text("second")]));
        assert_eq!(answer(&chain).await, Ok("second".into()), "{kind:?}");
    }
}

#[tokio::test]
async fn bad_input_and_a_stopped_run_lead_to_nobody_else() {
    for kind in [
        ErrorKind::InvalidInput,
        ErrorKind::Cancelled,
        ErrorKind::DeadlineExceeded,
        ErrorKind::BudgetExhausted,
    ] {
        let second = scripted([ScriptedTurn::text("never")]);
        assert_eq!(answer(&chain(scripted([failing(kind)]), second.clone())).await, Err(kind));
        assert!(second.requests().is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_begun_again() {
    let early = ScriptedTurn::events([]).then_fail(failure(ErrorKind::Unavailable));
    let late = ScriptedTurn::events([delta("one")]).then_fail(failure(ErrorKind::Unavailable));
    let second = scripted([ScriptedTurn::text("second")]);
    let chain = chain(scripted([early, late]), second.clone());
    assert_eq!(answer(&chain).await, Ok("second".into()));
    assert_eq!(answer(&chain).await, Err(ErrorKind::Unavailable));
    assert_eq!(second.requests().len(), 1);
}

#[tokio::test]
async fn if_all_fail_the_first_error_that_may_pass_is_returned() {
    for (first, second, expected) in [
        (ErrorKind::Unauthorized, ErrorKind::RateLimited, ErrorKind::RateLimited),
        (ErrorKind::RateLimited, ErrorKind::Unavailable, ErrorKind::RateLimited),
        (ErrorKind::NotFound, ErrorKind::Unauthorized, ErrorKind::NotFound),
    ] {
        let chain = chain(scripted([failing(first)]), scripted([failing(second)]));
        assert_eq!(answer(&chain).await, Err(expected));
    }
}

#[tokio::test]
async fn the_chain_promises_what_it_can_keep() {
    let described = |tokens, capabilities| {
        let info = ModelInfo::new("test", format!("m{tokens}"), tokens).capabilities(capabilities);
        Arc::new(ScriptedModel::saying("hello").described(info))
    };
    let plain = described(9000, Capabilities::default().with_citations().with_structured_output());
    let able = described(4000, Capabilities::default().with_tools());
    let chain = chain(plain.clone(), able.clone());
    let info = chain.info();
    assert_eq!((info.name.as_str(), info.context_tokens), ("m9000", 4000));
    assert_eq!(info.capabilities, Capabilities::default().with_tools());
    let mut request = hello();
    request.tools = vec![ToolSpec { name: "t".into(), description: "t".into(), parameters: json!({}) }];
    chain.stream(request, &RunContext::new()).await.unwrap();
    assert_eq!((plain.requests().len(), able.requests().len()), (0, 1));
}

#[tokio::test]
async fn embedders_stand_in_only_for_their_like() {
    let good: Arc<dyn agentkit_core::Embedder> = Arc::new(HashingEmbedder::new());
    let chain = FallbackEmbedder::new(FlakyEmbedder::new(9, Duration::ZERO), [good]).unwrap();
    assert_eq!(embed(&chain).await, Ok(2));
    let other: Arc<dyn agentkit_core::Embedder> = Arc::new(HashingEmbedder::new().named("other"));
    let error = FallbackEmbedder::new(Arc::new(HashingEmbedder::new()), [other]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let broken = FallbackEmbedder::new(FlakyEmbedder::new(9, Duration::ZERO), []).unwrap();
    assert_eq!(embed(&broken).await, Err(ErrorKind::Unavailable));
}
