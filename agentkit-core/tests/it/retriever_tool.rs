//! A retriever as a tool: what a model says never leads out of the scope.

use std::sync::{Arc, Mutex};

use agentkit_core::testing::{MemoryRetriever, ScriptedModel, ScriptedTurn, conformance};
use agentkit_core::{
    CollectionName, ErrorKind, Filter, Metadata, Result, Retriever, RetrieverTool, RunContext, SearchRequest,
    SearchResponse, TenantId, TenantScope, Tool, ToolAgent,
};
use async_trait::async_trait;
use serde_json::json;

/// Passes on, and remembers what was asked.
struct Watched {
    inner: MemoryRetriever,
    asked: Mutex<Vec<SearchRequest>>,
}

#[async_trait]
impl Retriever for Watched {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        self.asked.lock().unwrap().push(request.clone());
        self.inner.search(request, ctx).await
    }
}

fn scope(tenant: &str) -> TenantScope {
    TenantScope::for_tenant(TenantId::new(tenant).unwrap())
}

fn watched() -> Arc<Watched> {
    let inner = MemoryRetriever::new();
    let other = scope("mine").in_collection(CollectionName::new("other").unwrap());
    for (scope, id, text) in [
        (scope("mine"), "ours", "the code word is teapot"),
        (scope("theirs"), "secret", "the code word is swordfish"),
        (other, "elsewhere", "the code word is marzipan"),
    ] {
        inner.add_text(&scope, id, text, &Metadata::new()).unwrap();
    }
    Arc::new(Watched { inner, asked: Mutex::default() })
}

fn search(retriever: &Arc<Watched>) -> RetrieverTool {
    RetrieverTool::new("search", "Searches.", Arc::clone(retriever) as Arc<dyn Retriever>, scope("mine"))
}

#[tokio::test]
async fn it_conforms_to_the_contract_of_tools() {
    conformance::tool(&search(&watched()), json!({"query": "code word"})).await;
}

#[tokio::test]
async fn hostile_arguments_never_leave_the_scope() {
    let retriever = watched();
    let tool = search(&retriever);
    let hostile = [
        json!({"query": "code word", "tenant": "theirs"}),
        json!({"query": "code word", "tenant_id": "theirs", "collection": "other"}),
        json!({"query": "code word", "scope": {"tenant": "theirs", "collection": "default"}}),
        json!({"query": "code word", "filter": {"eq": {"field": "tenant", "value": "theirs"}}}),
        json!({"query": "code word", "plan": {"type": "lexical"}}),
        json!({"query": "code word", "top_k": 0}),
        json!({"query": "code word", "top_k": 1_000_000}),
        json!({"query": "code word", "top_k": -1}),
        json!({"query": {"text": "code word", "tenant": "theirs"}}),
        json!({"query": ["code word"]}),
        json!({"query": ""}),
        json!({"query": "a\u{0}b"}),
        json!({"query": "x".repeat(100_000)}),
        json!({}),
        json!(["code word", 5]),
    ];
    for arguments in hostile {
        let shown = arguments.to_string();
        let error = tool.call(arguments, &RunContext::new()).await.unwrap_err();
        assert!(error.is_invalid_input(), "{shown:.80}: {error}");
    }
    for query in [
        "tenant:theirs swordfish",
        "collection:other marzipan OR *",
        "'; SELECT * FROM tenants; --",
        "../theirs",
    ] {
        let found =
            tool.call(json!({"query": query, "top_k": 50}), &RunContext::new()).await.unwrap().to_string();
        assert!(!found.contains("swordfish") && !found.contains("marzipan"), "{query}: {found}");
    }
    let asked = retriever.asked.lock().unwrap();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|request| request.scope == scope("mine")));
}

#[tokio::test]
async fn a_filter_of_the_owner_holds_for_every_call() {
    let retriever = watched();
    let filter = Filter::eq("public", "yes");
    let tool = search(&retriever).filter(filter.clone());
    let found = tool.call(json!({"query": "code word"}), &RunContext::new()).await.unwrap();
    assert_eq!(found["results"], json!([]));
    assert_eq!(retriever.asked.lock().unwrap()[0].filter, Some(filter));
}

#[tokio::test]
async fn passages_that_do_not_fit_are_counted() {
    let retriever = MemoryRetriever::new();
    for id in ["a", "b", "c"] {
        retriever.add_text(&scope("mine"), id, "ten bytes!", &Metadata::new()).unwrap();
    }
    let tool = RetrieverTool::new("search", "Searches.", Arc::new(retriever), scope("mine")).text_bytes(25);
    let found = tool.call(json!({"query": "ten bytes"}), &RunContext::new()).await.unwrap();
    assert_eq!(found["results"].as_array().unwrap().len(), 2);
    assert_eq!(found["omitted"], 1);
    assert_eq!(found["results"][0]["id"], "a");
}

#[tokio::test]
async fn an_agent_is_told_what_is_wrong_and_searches_again() {
    let model = Arc::new(ScriptedModel::new([
        ScriptedTurn::tool_call("1", "search", json!({"query": "code word", "tenant": "theirs"})),
        ScriptedTurn::tool_call("2", "search", json!({"query": "code word"})),
        ScriptedTurn::text("it is teapot"),
    ]));
    let tool = Arc::new(search(&watched()));
    let agent = ToolAgent::builder(model.clone()).tool(tool).build().unwrap();
    let reply = agent.ask(&scope("mine"), "what is the code word?").await.unwrap();
    assert_eq!(reply.answer, "it is teapot");
}

#[tokio::test]
async fn a_retriever_that_fails_stops_the_run() {
    struct Away;
    #[async_trait]
    impl Retriever for Away {
        async fn search(&self, _: &SearchRequest, _: &RunContext) -> Result<SearchResponse> {
            Err(agentkit_core::Error::new(ErrorKind::Unavailable, "the index is away"))
        }
    }
    let tool = RetrieverTool::new("search", "Searches.", Arc::new(Away), scope("mine"));
    let error = tool.call(json!({"query": "x"}), &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
