//! Backups of an index that is being written to, and what verifying finds.

use std::path::Path;
use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{ErrorKind, RunContext, TenantId, TenantScope};
use agentkit_rag::{Index, SourceDocument, backup, verify};

async fn open(folder: &Path) -> Index {
    Index::open(folder, Arc::new(HashingEmbedder::default())).await.expect("the index opens")
}

fn batch(n: usize) -> Vec<SourceDocument> {
    let text = |i: usize| format!("Batch {n} writes document {i} as it is in this generation of all.");
    (0..4).map(|i| SourceDocument::text(format!("d{i}"), text(i)).expect("a valid id")).collect()
}

async fn generation_of(index: &Index, scope: &TenantScope) -> Vec<String> {
    let ctx = RunContext::new();
    let mut texts = Vec::new();
    for listed in index.list(scope, None, 100, &ctx).await.expect("listing works") {
        let stored = index.get(scope, &listed.id, &ctx).await.expect("reading works").expect("it is listed");
        texts.push(stored.source_text.split(" writes").next().unwrap_or_default().to_owned());
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_while_writing_is_of_one_commit_and_restores() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("index");
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let other = TenantScope::for_tenant(TenantId::new("acme").unwrap());
    let index = open(&source).await;
    index.upsert(&scope, batch(0), &ctx).await.unwrap();
    index.upsert(&other, batch(0), &ctx).await.unwrap();
    let stop = RunContext::new();
    let writer = tokio::spawn({
        let (index, scope, stop) = (index.clone(), scope.clone(), stop.clone());
        async move {
            for n in 1.. {
                index.upsert(&scope, batch(n), &RunContext::new()).await.unwrap();
                if n % 5 == 0 {
                    index.compact(&scope, &RunContext::new()).await.unwrap();
                }
                if stop.check().is_err() {
                    return n;
                }
            }
            0
        }
    });
    for n in 0..6 {
        let copy = folder.path().join(format!("copy{n}"));
        let report = backup(&source, &copy, &ctx).await.unwrap();
        assert_eq!((report.collections, report.documents, report.chunks), (2, 8, 8));
        assert_eq!(verify(&copy, &ctx).await.unwrap(), report);
        let restored = open(&copy).await;
        let texts = generation_of(&restored, &scope).await;
        assert!(texts.len() == 4 && texts.iter().all(|text| *text == texts[0]), "one commit: {texts:?}");
        restored.upsert(&scope, batch(999), &ctx).await.unwrap();
    }
    stop.cancel();
    assert!(writer.await.unwrap() > 1, "there were writes meanwhile");
    let again = backup(&source, folder.path().join("copy0"), &ctx).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_names_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let missing = verify(folder.path(), &ctx).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let index = open(folder.path()).await;
    index.upsert(&scope, batch(0), &ctx).await.unwrap();
    index.close().await.unwrap();
    assert_eq!(verify(folder.path(), &ctx).await.unwrap().documents, 4);
    let partition = folder.path().join("partitions/local/default");
    let log = partition.join("vectors-000001.log");
    let whole = std::fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    std::fs::write(&log, damaged).unwrap();
    let error = verify(folder.path(), &ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("vectors-000001.log"), "{}", error.message());
    std::fs::write(&log, whole).unwrap();
    for entry in std::fs::read_dir(partition.join("text")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "store") {
            let mut damaged = std::fs::read(&path).unwrap();
            damaged[3] ^= 1;
            std::fs::write(&path, damaged).unwrap();
        }
    }
    assert_eq!(verify(folder.path(), &ctx).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
