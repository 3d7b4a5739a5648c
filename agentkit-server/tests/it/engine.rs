//! The embedded parts put together, with the real embedding model.

use agentkit_core::{
    Conversation, ErrorKind, Message, QueryRewriter, RunContext, SearchPlan, SearchRequest, SessionId,
    TenantScope,
};
use agentkit_rag::SourceDocument;
use agentkit_rag::answer::{HistoryRewriter, QueryResolver};
use agentkit_rag::embed::{BertEmbedder, BertOptions, Precision};
use agentkit_rag::models::{ModelSpec, ModelStore, NoProgress};
use agentkit_server::config::{Config, EmbedderChoice};
use agentkit_server::{Access, Engine};

const TEXTS: [(&str, &str); 3] = [
    ("tea", "Green tea is best at 80 degrees."),
    ("coffee", "Espresso is pressed through the grounds at nine bar."),
    ("cocoa", "Cocoa was drunk cold by the Maya, spiced with chilli."),
];

async fn engine(folder: &tempfile::TempDir, embedder: EmbedderChoice) -> Engine {
    let mut config = Config::default();
    config.data_dir = folder.path().to_owned();
    config.embedder = embedder;
    let ctx = RunContext::new();
    let engine = Engine::open(&config, Access::ReadWrite, &NoProgress, &ctx).await.unwrap();
    let documents = TEXTS.map(|(id, text)| SourceDocument::text(id, text).unwrap());
    engine.documents().upsert(&TenantScope::local(), documents.to_vec(), &ctx).await.unwrap();
    engine
}

#[tokio::test]
async fn plans_may_name_the_embedding_models_token_vectors() {
    let request = SearchRequest::new(TenantScope::local(), "how hot should tea be?")
        .plan(SearchPlan::hybrid().rerank("maxsim"));
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let minilm = engine(&folder, EmbedderChoice::MinilmInt8).await;
    let found = minilm.retriever().search(&request, &RunContext::new()).await.unwrap();
    assert_eq!(found.hits.first().unwrap().passage.document_id.as_str(), "tea");
    assert!(found.hits.iter().all(|hit| hit.explanation.reranked == Some(hit.score)));

    let hashing = engine(&other, EmbedderChoice::Hashing).await;
    let refused = hashing.retriever().search(&request, &RunContext::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
}

#[tokio::test]
async fn what_the_documents_do_not_answer_is_refused_with_the_nearest_passages() {
    let folder = tempfile::tempdir().unwrap();
    let agent = engine(&folder, EmbedderChoice::MinilmInt8).await.agent();
    let ask = async |question: &str| {
        let input = agentkit_core::AgentInput::new(TenantScope::local(), question);
        agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap().answer
    };
    assert!(ask("At how many degrees is green tea best?").await.contains("80 degrees"));
    let refused = ask("Who painted the ceiling of the chapel with nine prophets?").await;
    assert!(refused.starts_with("The sources do not say. The nearest passages: [1]"), "{refused}");
}

async fn resolver() -> QueryResolver {
    let store = ModelStore::from_env().unwrap();
    let folder = store.fetch(&ModelSpec::minilm(), &NoProgress, &RunContext::new()).await.unwrap();
    let options = BertOptions::default().precision(Precision::Int8);
    QueryResolver::new(&BertEmbedder::load_with(folder, options).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_follow_up_is_searched_for_with_what_it_leans_on() {
    let folder = tempfile::tempdir().unwrap();
    let agent = engine(&folder, EmbedderChoice::MinilmInt8).await.agent();
    let scope = TenantScope::local();
    let session = SessionId::new("s").unwrap();
    let ask = async |question: &str| {
        let input = agentkit_core::AgentInput::new(scope.clone(), question).session(session.clone());
        agent.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap()
    };
    let (first, then) = ("Was cocoa drunk cold?", "With what did they spice it?");
    let told = ask(first).await.answer;
    assert!(told.contains("Maya"), "{told}");
    let answered = ask(then).await;
    assert!(answered.answer.contains("chilli"), "{}", answered.answer);
    let before = Conversation::new(vec![Message::user(first), Message::assistant(told)]);
    let by_signs = HistoryRewriter::new().addition(then, &before);
    assert_ne!(answered.query, format!("{then} {by_signs}"));
    let asked = SearchRequest::new(scope.clone(), then).conversation(before);
    let queries = resolver().await.rewrite(&asked, &RunContext::new()).await.unwrap();
    assert_eq!(Some(&answered.query), queries.last().map(|query| &query.text), "the model reads it");
}
