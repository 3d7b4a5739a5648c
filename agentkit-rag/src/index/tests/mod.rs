//! The whole index on a simulated disk: failures, power loss, damage, random histories, and forgetting.

mod damage;
mod determinism;
mod faults;
mod forget;
mod history;
mod reembed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{
    DocumentId, Filter, Metadata, Result, Retriever, RunContext, SearchPlan, SearchRequest, TenantScope,
};

use super::Index;
use super::storage::Folder;
use super::storage::simulated::Simulated;
use crate::source::SourceDocument;

const ROOT: &str = "/index";
const DIMENSION: usize = 16;

/// What the index should hold: text and topic of each document.
type Model = BTreeMap<String, (String, String)>;

async fn open(disk: &Simulated) -> Result<Index> {
    let embedder = Arc::new(HashingEmbedder::with_dimension(DIMENSION));
    Index::open_in(Folder::new(Arc::new(disk.clone()), Path::new(ROOT)), embedder).await
}

fn document(id: &str, text: &str, topic: &str) -> SourceDocument {
    let metadata = Metadata::new().with("topic", topic);
    SourceDocument::text(id, text).unwrap().with_metadata(metadata)
}

fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

/// Everything that is stored, or the first error.
async fn contents(index: &Index) -> Result<Model> {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let mut contents = Model::new();
    for listed in index.list(&scope, None, 1000, &ctx).await? {
        let stored = index.get(&scope, &listed.id, &ctx).await?.expect("it was listed");
        let topic =
            stored.metadata.iter().next().map(|(_, values)| format!("{values:?}")).unwrap_or_default();
        contents.insert(listed.id.to_string(), (stored.source_text, topic));
    }
    Ok(contents)
}

/// The same for a list of documents.
fn model_of(documents: &BTreeMap<String, SourceDocument>) -> Model {
    let entry = |document: &SourceDocument| {
        let topic =
            document.metadata.iter().next().map(|(_, values)| format!("{values:?}")).unwrap_or_default();
        (document.source_text.clone(), topic)
    };
    documents.iter().map(|(id, document)| (id.clone(), entry(document))).collect()
}

/// Chunks of each leg, with and without a filter; the legs must agree, and with the counts.
async fn check_legs(index: &Index, documents: &BTreeMap<String, SourceDocument>) -> Result<()> {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let chunks = index.stats(&scope).await?.chunks;
    for topic in [None, Some("tea"), Some("coffee")] {
        let filter = topic.map(|topic| Filter::eq("topic", topic));
        let expected: Vec<&String> = documents
            .iter()
            .filter(|(_, document)| filter.as_ref().is_none_or(|filter| filter.matches(&document.metadata)))
            .map(|(id, _)| id)
            .collect();
        let mut legs = Vec::new();
        for plan in [SearchPlan::dense(), SearchPlan::lexical()] {
            let mut request = SearchRequest::new(scope.clone(), "common").plan(plan).top_k(1000);
            request.filter = filter.clone();
            let response = index.search(&request, &ctx).await?;
            let mut found: Vec<(String, String)> = response
                .hits
                .iter()
                .map(|hit| {
                    let passage = &hit.passage;
                    let source = &documents[passage.document_id.as_str()].source_text;
                    assert_eq!(
                        passage.span.slice(source),
                        Some(passage.text.as_str()),
                        "a hit quotes its source"
                    );
                    (passage.document_id.to_string(), passage.chunk_id.to_string())
                })
                .collect();
            found.sort();
            legs.push(found);
        }
        assert_eq!(legs[0], legs[1], "both legs hold the same chunks");
        let mut ids: Vec<&String> = legs[0].iter().map(|(id, _)| id).collect();
        ids.dedup();
        assert_eq!(ids, expected, "filter {topic:?}");
        assert!(topic.is_some() || legs[0].len() as u64 == chunks, "the count of chunks");
    }
    assert_eq!(index.stats(&scope).await?.documents, documents.len() as u64);
    Ok(())
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}
