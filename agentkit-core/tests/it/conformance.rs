//! The doubles pass the suites of their contracts.

use std::sync::Arc;

use agentkit_core::testing::conformance::{self, AgentFixture};
use agentkit_core::testing::{
    CountingEmbedder, EchoTool, HashingEmbedder, MemoryRetriever, OverlapReranker, ScriptedModel,
    ScriptedTurn, WindowMemory,
};
use agentkit_core::{
    ChatEvent, FinishReason, Fusion, ModelInfo, PassageCitation, Retriever, RunContext, SearchPlan,
    SearchRequest, Searcher, Span,
};
use serde_json::json;

use crate::agents::{Flaw, QuotingAgent};

#[tokio::test]
async fn scripted_models_conform() {
    conformance::chat_model(&ScriptedModel::saying("hello to you all")).await;
    let plain = ScriptedModel::saying("hello").described(ModelInfo::new("agentkit", "without tools", 100));
    conformance::chat_model(&plain).await;
    assert_eq!(plain.open_streams(), 0);
}

#[tokio::test]
async fn a_model_that_cites_conforms() {
    let citation = ChatEvent::Citation(PassageCitation { number: 1, span: Span::new(0, 8) });
    let citing = ScriptedTurn::events([
        ChatEvent::Delta { text: "To reset [1]".into() },
        citation,
        ChatEvent::Finished { reason: FinishReason::Stop },
    ]);
    let rest = (0..3).map(|_| ScriptedTurn::text("hello to you all"));
    let turns = [ScriptedTurn::text("hello"), citing].into_iter().chain(rest);
    conformance::chat_model(&ScriptedModel::new(turns)).await;
}

#[tokio::test]
async fn hashing_embedders_conform() {
    conformance::embedder(&HashingEmbedder::new()).await;
    conformance::embedder(&HashingEmbedder::with_dimension(1)).await;
    conformance::embedder(&HashingEmbedder::with_dimension(384).named("other")).await;
    conformance::embedder(&CountingEmbedder::new(Arc::new(HashingEmbedder::new()))).await;
}

#[tokio::test]
async fn the_overlap_reranker_conforms() {
    conformance::reranker(&OverlapReranker::new()).await;
}

#[tokio::test]
async fn the_memory_retriever_conforms() {
    let retriever = MemoryRetriever::new();
    conformance::ingest_fixture(&retriever).unwrap();
    conformance::retriever(&retriever).await;
    let all = [SearchPlan::hybrid(), SearchPlan::lexical(), SearchPlan::dense()];
    let nested = SearchPlan::fuse(Fusion::Rrf { k: 10.0 }, all);
    let above = nested.clone().limit(100).threshold(0.0).rerank("overlap");
    let searcher = Searcher::new(Arc::new(retriever)).reranker("overlap", Arc::new(OverlapReranker::new()));
    conformance::retriever_plans(&searcher, &[nested, above]).await;
}

#[tokio::test]
async fn a_passage_with_a_known_chunk_id_replaces_the_old_one() {
    let (retriever, scope) = (MemoryRetriever::new(), conformance::fixture_scope());
    for text in ["the old text", "the new text"] {
        retriever.add_text(&scope, "d", text, &agentkit_core::Metadata::new()).unwrap();
    }
    let request = SearchRequest::new(scope, "text");
    let found = retriever.search(&request, &RunContext::new()).await.unwrap();
    assert_eq!((found.matches, found.generation), (1, 2));
    assert_eq!(found.hits[0].passage.text, "the new text");
}

#[tokio::test]
async fn the_window_memory_conforms() {
    conformance::memory(|| async { WindowMemory::new() }).await;
}

#[tokio::test]
async fn the_echo_tool_conforms() {
    conformance::tool(&EchoTool::erased(), json!({"text": "hello"})).await;
}

#[tokio::test]
async fn an_agent_that_quotes_conforms() {
    conformance::agent(&agent_fixture(Flaw::None)).await;
}

/// An agent over the retriever suite's documents, with the suite's questions.
pub(crate) fn agent_fixture(flaw: Flaw) -> AgentFixture {
    let agent = quoting_agent(flaw);
    let memory = Arc::clone(&agent.memory);
    AgentFixture::new(Arc::new(agent), conformance::fixture_scope())
        .question("Wie groß ist die Teekanne?")
        .memory(memory)
}

/// An agent over the retriever suite's documents.
pub(crate) fn quoting_agent(flaw: Flaw) -> QuotingAgent {
    let retriever = Arc::new(MemoryRetriever::new());
    conformance::ingest_fixture(&retriever).unwrap();
    QuotingAgent { retriever, memory: Arc::default(), flaw }
}
