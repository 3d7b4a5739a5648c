//! Every implementation of this crate against the conformance suite of its contract.

use std::sync::Arc;

use agentkit_core::testing::{HashingEmbedder, WindowMemory, conformance};
use agentkit_core::{RunContext, SearchPlan, TenantScope};
use agentkit_rag::answer::{ExtractiveModel, RagAgent};
use agentkit_rag::embed::BertEmbedder;
use agentkit_rag::{Index, SourceDocument};

/// An index that holds the suite's documents, in a folder that lives as long as it.
async fn index_of_the_suite() -> (tempfile::TempDir, Index) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), Arc::new(HashingEmbedder::new())).await.unwrap();
    for fixture in conformance::fixture_documents() {
        let mut document = SourceDocument::text(fixture.id.as_str(), fixture.text).unwrap();
        document.title = fixture.title;
        document.metadata = fixture.metadata;
        index.upsert(&fixture.scope, vec![document], &RunContext::new()).await.unwrap();
    }
    (folder, index)
}

#[tokio::test]
async fn the_index_is_a_retriever() {
    let (_folder, index) = index_of_the_suite().await;
    conformance::retriever(&index).await;
    conformance::retriever_plans(&index, &[SearchPlan::dense(), SearchPlan::lexical()]).await;
}

#[tokio::test]
async fn the_local_model_is_an_embedder() {
    conformance::embedder(&BertEmbedder::minilm().await.unwrap()).await;
}

#[tokio::test]
async fn the_extractive_model_is_a_chat_model() {
    conformance::chat_model(&ExtractiveModel::new()).await;
}

#[cfg(feature = "local-chat")]
#[tokio::test]
async fn the_local_chat_model_is_a_chat_model() {
    let options = agentkit_rag::chat::LocalOptions::default().max_tokens(16);
    conformance::chat_model(&crate::chat::model(options).await).await;
}

#[tokio::test]
async fn the_rag_agent_is_an_agent() {
    let (_folder, index) = index_of_the_suite().await;
    let memory = Arc::new(WindowMemory::new());
    let agent = RagAgent::new(Arc::new(index), Arc::new(ExtractiveModel::new())).memory(memory.clone());
    let scope: TenantScope = conformance::fixture_scope();
    let fixture = conformance::AgentFixture::new(Arc::new(agent), scope)
        .question("how do I descale the kettle?")
        .memory(memory);
    conformance::agent(&fixture).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_sqlite_memory_is_a_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::memory(|| {
        count += 1;
        let path = folder.path().join(format!("{count}.sqlite"));
        async move { agentkit_rag::sqlite::SqliteMemory::open(&path).await.unwrap() }
    })
    .await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_sqlite_checkpointer_is_a_checkpointer() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::checkpointer(|| {
        count += 1;
        let path = folder.path().join(format!("{count}.sqlite"));
        async move { agentkit_rag::sqlite::SqliteCheckpointer::open(&path).await.unwrap() }
    })
    .await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_sqlite_state_is_a_state_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::state_store(|| {
        count += 1;
        let path = folder.path().join(format!("{count}.sqlite"));
        async move { agentkit_rag::sqlite::SqliteState::open(&path).await.unwrap() }
    })
    .await;
}
