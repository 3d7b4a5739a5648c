//! Indexes of earlier builds are opened by this one: each folder below `tests/compat` is of one format.
//!
//! A new format gets a new folder, written by running this test with `AGENTKIT_WRITE_COMPAT` set to its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{
    DocumentId, Filter, Metadata, Retriever, RunContext, SearchPlan, SearchRequest, TenantScope,
};
use agentkit_rag::{Index, SourceDocument, verify};

const WRITE: &str = "AGENTKIT_WRITE_COMPAT";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat")
}

async fn open(folder: &Path) -> Index {
    Index::open(folder, Arc::new(HashingEmbedder::with_dimension(16))).await.expect("the index opens")
}

fn documents() -> Vec<SourceDocument> {
    let document = |id: &str, text: &str, year: i32| {
        let metadata = Metadata::new().with("year", year);
        SourceDocument::text(id, text).expect("a valid id").with_title("Drinks").with_metadata(metadata)
    };
    vec![
        document("tea", "Green tea is best at 80 degrees. Größe 東京.", 2024),
        document("coffee", "Coffee is brewed at 94 degrees.", 2025),
        document("gone", "This text is deleted before the folder is kept.", 2026),
    ]
}

async fn write(folder: &Path) {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let index = open(folder).await;
    for document in documents() {
        index.upsert(&scope, vec![document], &ctx).await.expect("the upsert succeeds");
    }
    index.delete(&scope, &[DocumentId::new("gone").expect("valid")], &ctx).await.expect("it is deleted");
    index.close().await.expect("the index closes");
    std::fs::remove_file(folder.join("writer.lock")).expect("the lock is free");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_every_format_are_read_and_written() {
    if let Some(name) = std::env::var_os(WRITE) {
        write(&fixtures().join(name)).await;
    }
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let mut seen = 0;
    for fixture in std::fs::read_dir(fixtures()).unwrap() {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture.unwrap().path(), folder.path());
        assert_eq!(verify(folder.path(), &ctx).await.unwrap().documents, 2);
        let index = open(folder.path()).await;
        for document in &documents()[..2] {
            let stored = index.get(&scope, &document.id, &ctx).await.unwrap().expect("it was kept");
            assert_eq!(stored.source_text, document.source_text);
            assert_eq!(stored.metadata, document.metadata);
        }
        let request = SearchRequest::new(scope.clone(), "green tea").filter(Filter::eq("year", 2024));
        let hits = index.search(&request, &ctx).await.unwrap().hits;
        assert_eq!(hits[0].passage.text, documents()[0].source_text);
        assert_eq!(hits[0].explanation.legs.len(), 2, "both legs find it");
        let unchanged = index.upsert(&scope, documents()[..2].to_vec(), &ctx).await.unwrap();
        assert_eq!(unchanged.unchanged, 2);
        index.upsert(&scope, documents(), &ctx).await.unwrap();
        index.compact(&scope, &ctx).await.unwrap();
        assert_eq!(index.stats(&scope).await.unwrap().documents, 3);
        seen += 1;
    }
    assert!(seen > 0, "there is no fixture");
}

async fn found_by_words(index: &Index, text: &str) -> Vec<String> {
    let request = SearchRequest::new(TenantScope::local(), text).plan(SearchPlan::lexical());
    let hits = index.search(&request, &RunContext::new()).await.unwrap().hits;
    hits.into_iter().map(|hit| hit.passage.document_id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_format_1_becomes_one_of_format_2_without_embedding_anything() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixtures().join("v1"), folder.path());
    let is_new = || {
        let manifest = std::fs::read_to_string(folder.path().join("index.json")).unwrap();
        manifest.contains("\"format\": 2")
    };
    let index = open(folder.path()).await;
    assert!(!is_new(), "opening alone changes nothing");
    assert!(found_by_words(&index, "京").await.is_empty(), "format 1 knows no letters");
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let nearest = SearchRequest::new(scope, "tea").plan(SearchPlan::dense());
    let before = index.search(&nearest, &ctx).await.unwrap().hits;
    let same = || Arc::new(HashingEmbedder::with_dimension(16));
    assert_eq!(index.reembed(same(), |_| {}, &ctx).await.unwrap().documents, 2);
    assert!(is_new());
    assert_eq!(found_by_words(&index, "京").await, ["tea"]);
    assert_eq!(index.search(&nearest, &ctx).await.unwrap().hits, before);
    assert_eq!(
        index.reembed(same(), |_| {}, &ctx).await.unwrap().documents,
        0,
        "it is of the present format"
    );
}
