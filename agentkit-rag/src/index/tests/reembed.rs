//! Embedding anew: under reads and writes, under failures and power loss, and with nothing left of the forgotten.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use agentkit_core::ErrorKind;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::storage::simulated::{End, Fault};
use super::super::{ReembedProgress, ReembedReport};
use super::forget::{CANARY, traces};
use super::*;

/// The model that replaces the first one.
const NEXT_DIMENSION: usize = 24;

fn model(dimension: usize) -> Arc<HashingEmbedder> {
    Arc::new(HashingEmbedder::with_dimension(dimension))
}

async fn open_with(disk: &Simulated, dimension: usize) -> Result<Index> {
    Index::open_in(Folder::new(Arc::new(disk.clone()), Path::new(ROOT)), model(dimension)).await
}

fn documents(count: usize) -> BTreeMap<String, SourceDocument> {
    let topic = |n: usize| if n.is_multiple_of(2) { "tea" } else { "coffee" };
    (0..count)
        .map(|n| {
            let id = format!("d{n:03}");
            (id.clone(), document(&id, &format!("common text number{n}"), topic(n)))
        })
        .collect()
}

async fn write(index: &Index, documents: &BTreeMap<String, SourceDocument>) {
    let all = documents.values().cloned().collect();
    index.upsert(&TenantScope::local(), all, &RunContext::new()).await.unwrap();
}

fn folders(disk: &Simulated) -> Vec<String> {
    let mut folders: Vec<String> = disk
        .files()
        .keys()
        .filter_map(|path| {
            Some(path.strip_prefix(ROOT).ok()?.components().next()?.as_os_str().to_str()?.to_owned())
        })
        .filter(|name| name.starts_with("partitions"))
        .collect();
    folders.dedup();
    folders
}

#[test]
fn everything_is_there_under_the_new_model_and_the_old_files_are_gone() {
    run(async {
        let disk = Simulated::default();
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let index = open(&disk).await.unwrap();
        let documents = documents(100);
        write(&index, &documents).await;
        let before = contents(&index).await.unwrap();
        let hits = |index: Index| async move {
            let request =
                SearchRequest::new(TenantScope::local(), "common number7").plan(SearchPlan::lexical());
            index.search(&request, &RunContext::new()).await.unwrap().hits
        };
        let first = hits(index.clone()).await;
        let seen = Arc::new(AtomicUsize::new(0));
        let told = seen.clone();
        let progress = move |step: ReembedProgress| {
            assert!(step.done <= step.total && step.total == 100);
            told.fetch_add(1, Ordering::Relaxed);
        };
        let report = index.reembed(model(NEXT_DIMENSION), progress, &ctx).await.unwrap();
        assert_eq!((report.documents, report.chunks), (100, 100));
        assert!(seen.load(Ordering::Relaxed) > 3, "progress is told");
        assert_eq!(contents(&index).await.unwrap(), before);
        check_legs(&index, &documents).await.unwrap();
        let ids = |hits: &[agentkit_core::Hit]| -> Vec<_> {
            hits.iter().map(|hit| hit.passage.chunk_id.clone()).collect()
        };
        assert_eq!(ids(&hits(index.clone()).await), ids(&first), "chunks keep their ids");
        assert_eq!(folders(&disk), ["partitions-2"]);
        let again = index.reembed(model(NEXT_DIMENSION), |_| {}, &ctx).await.unwrap();
        assert_eq!(again.documents, 0, "nothing to do");
        index.close().await.unwrap();
        assert_eq!(open(&disk).await.unwrap_err().kind(), ErrorKind::Mismatch);
        let index = open_with(&disk, NEXT_DIMENSION).await.unwrap();
        check_legs(&index, &documents).await.unwrap();
        index.upsert(&scope, vec![document("new", "common and new", "tea")], &ctx).await.unwrap();
    });
}

#[test]
fn no_search_fails_and_no_write_is_lost_meanwhile() {
    run(async {
        let disk = Simulated::default();
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let index = open(&disk).await.unwrap();
        let mut documents = documents(300);
        write(&index, &documents).await;
        let over = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (index, over) = (index.clone(), over.clone());
            async move {
                let mut searches = 0;
                while !over.load(Ordering::Relaxed) {
                    let request = SearchRequest::new(TenantScope::local(), "common text number299");
                    let found = index.search(&request, &RunContext::new()).await.expect("no search fails");
                    assert!(!found.hits.is_empty());
                    searches += 1;
                }
                searches
            }
        });
        let writer = tokio::spawn({
            let (index, over) = (index.clone(), over.clone());
            async move {
                let (scope, ctx) = (TenantScope::local(), RunContext::new());
                let mut written = BTreeMap::new();
                let mut deleted = Vec::new();
                for n in 0.. {
                    let name = format!("w{n:04}");
                    let new = document(&name, &format!("common write {n}"), "tea");
                    index.upsert(&scope, vec![new.clone()], &ctx).await.expect("no write fails");
                    written.insert(name, new);
                    let gone = format!("d{:03}", n % 300);
                    index.delete(&scope, &[id(&gone)], &ctx).await.expect("no deletion fails");
                    deleted.push(gone);
                    if over.load(Ordering::Relaxed) && n > 20 {
                        break;
                    }
                }
                (written, deleted)
            }
        });
        for dimension in [NEXT_DIMENSION, DIMENSION, NEXT_DIMENSION] {
            index.reembed(model(dimension), |_| {}, &ctx).await.unwrap();
        }
        over.store(true, Ordering::Relaxed);
        assert!(reader.await.unwrap() > 0);
        let (written, deleted) = writer.await.unwrap();
        documents.extend(written);
        for gone in &deleted {
            documents.remove(gone);
        }
        check_legs(&index, &documents).await.unwrap();
        drop(index);
        let index = open_with(&disk, NEXT_DIMENSION).await.unwrap();
        check_legs(&index, &documents).await.unwrap();
        assert_eq!(index.stats(&scope).await.unwrap().documents, documents.len() as u64);
    });
}

/// Embeds anew in the background and stops after the first page; goes on when the second value is dropped.
async fn halfway(index: &Index, ctx: &RunContext) -> (JoinHandle<Result<ReembedReport>>, mpsc::Sender<()>) {
    let (begun, seen) = oneshot::channel();
    let (release, released) = mpsc::channel();
    let (begun, released) = (Mutex::new(Some(begun)), Mutex::new(released));
    let progress = move |step: ReembedProgress| {
        if step.done > 0
            && let Some(begun) = begun.lock().unwrap().take()
        {
            begun.send(()).unwrap();
            // Its other end is never used: this ends when that is dropped.
            released.lock().unwrap().recv().unwrap_err();
        }
    };
    let (index, ctx) = (index.clone(), ctx.clone());
    let running = tokio::spawn(async move { index.reembed(model(NEXT_DIMENSION), progress, &ctx).await });
    seen.await.unwrap();
    (running, release)
}

#[test]
fn only_one_runs_at_a_time_and_one_that_is_given_up_leaves_nothing() {
    run(async {
        let disk = Simulated::default();
        let index = open(&disk).await.unwrap();
        let documents = documents(200);
        write(&index, &documents).await;
        for aborts in [false, true] {
            let ctx = RunContext::new();
            let (running, release) = halfway(&index, &ctx).await;
            let other = index.reembed(model(NEXT_DIMENSION), |_| {}, &RunContext::new()).await;
            assert_eq!(other.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(folders(&disk), ["partitions", "partitions-2"]);
            if aborts {
                running.abort();
            } else {
                ctx.cancel();
            }
            drop(release);
            assert!(running.await.map_or(aborts, |outcome| outcome.is_err_and(|error| error.is_stopped())));
            while index.shared.copier().is_some() {
                tokio::task::yield_now().await;
            }
            assert_eq!(folders(&disk), ["partitions"]);
            check_legs(&index, &documents).await.unwrap();
        }
        index.reembed(model(NEXT_DIMENSION), |_| {}, &RunContext::new()).await.unwrap();
        check_legs(&index, &documents).await.unwrap();
    });
}

#[test]
fn what_is_forgotten_meanwhile_is_in_neither_edition() {
    run(async {
        let disk = Simulated::default();
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let index = open(&disk).await.unwrap();
        write(&index, &documents(200)).await;
        let secret = document("a-secret", &format!("common {CANARY}"), "tea");
        index.upsert(&scope, vec![secret], &ctx).await.unwrap();
        let (running, release) = halfway(&index, &ctx).await;
        let (first, second) = (("partitions", DIMENSION), ("partitions-2", NEXT_DIMENSION));
        let left = |editions: &[(&str, usize)]| traces(&disk.after(End::Killed), &[], editions);
        assert!(!left(&[first]).is_empty() && !left(&[second]).is_empty());
        assert_eq!(index.forget(&scope, &[id("a-secret")], &ctx).await.unwrap(), 1);
        assert_eq!(left(&[first, second]), [""; 0]);
        drop(release);
        running.await.unwrap().unwrap();
        assert_eq!(left(&[second]), [""; 0]);
        assert_eq!(index.stats(&scope).await.unwrap().documents, 200);
    });
}

/// The index is whole under one of the two models.
async fn check_either(disk: &Simulated, documents: &BTreeMap<String, SourceDocument>, what: &str) {
    let index = match open(disk).await {
        Err(error) if error.kind() == ErrorKind::Mismatch => open_with(disk, NEXT_DIMENSION).await,
        opened => opened,
    };
    let index = index.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    check_legs(&index, documents).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    assert_eq!(folders(disk).len(), 1, "{what}: one edition is left");
}

#[test]
fn after_a_failure_at_any_operation_the_index_is_whole_under_one_of_the_models() {
    let documents = documents(6);
    let prepared = Simulated::default();
    run(async {
        let index = open(&prepared).await.unwrap();
        write(&index, &documents).await;
        index.close().await.unwrap();
    });
    let attempt = |disk: Simulated| async move {
        let index = open(&disk).await?;
        let done = index.reembed(model(NEXT_DIMENSION), |_| {}, &RunContext::new()).await;
        index.close().await?;
        done
    };
    let whole = prepared.after(End::Killed);
    run(attempt(whole.clone())).unwrap();
    for point in super::faults::points(whole.operations()) {
        let disk = prepared.after(End::Killed).failing(Fault::From(point));
        let _ = run(attempt(disk.clone()));
        for end in [End::Killed, End::PowerLoss, End::TornPowerLoss] {
            run(check_either(&disk.after(end), &documents, &format!("operation {point}, {end:?}")));
        }
        let disk = prepared.after(End::Killed).failing(Fault::Once(point));
        let _ = run(attempt(disk.clone()));
        run(check_either(&disk.after(End::PowerLoss), &documents, &format!("operation {point} failed")));
    }
}

#[test]
fn an_index_can_be_opened_read_and_embedded_anew_without_its_model() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        assert!(Index::open_without_model(folder.path()).await.unwrap_err().is_not_found());
        let index = Index::open(folder.path(), model(DIMENSION)).await.unwrap();
        let documents = documents(10);
        write(&index, &documents).await;
        index.close().await.unwrap();
        let reader = Index::open_read_only(folder.path(), model(DIMENSION)).await.unwrap();
        let index = Index::open_without_model(folder.path()).await.unwrap();
        let request = SearchRequest::new(scope.clone(), "common number3").plan(SearchPlan::lexical());
        assert!(!index.search(&request, &ctx).await.unwrap().hits.is_empty());
        let hybrid = SearchRequest::new(scope.clone(), "common number3");
        assert_eq!(index.search(&hybrid, &ctx).await.unwrap_err().kind(), ErrorKind::Unsupported);
        index.reembed(model(NEXT_DIMENSION), |_| {}, &ctx).await.unwrap();
        check_legs(&index, &documents).await.unwrap();
        let told = reader.search(&hybrid, &ctx).await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Mismatch, "an old reader does not take it for empty");
    });
}
