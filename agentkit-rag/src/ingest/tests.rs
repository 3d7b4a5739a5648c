//! Jobs over real folders: what is read, written and deleted, what is told, and what a slow or refusing target does to it.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{DocumentId, Error, ErrorKind, Result, RunContext, TenantScope};
use async_trait::async_trait;
use tempfile::TempDir;

use std::sync::Arc;

use super::*;
use crate::index::{DocumentSummary, Index, UpsertReport};
use crate::source::SourceDocument;

/// A folder, an index, and where the mirror is remembered.
struct Place {
    dir: TempDir,
    index: Index,
    events: Arc<Mutex<Vec<String>>>,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("notes")).unwrap();
        let index = Index::open(dir.path().join("index"), Arc::new(HashingEmbedder::with_dimension(16)));
        Self { index: index.await.unwrap(), dir, events: Arc::default() }
    }

    fn notes(&self) -> std::path::PathBuf {
        self.dir.path().join("notes")
    }

    /// Writes a file as if `seconds` after 1970.
    fn write(&self, name: &str, text: impl AsRef<[u8]>, seconds: u64) {
        let path = self.notes().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    fn mirror(&self) -> Mirror {
        Mirror::new(self.notes(), self.dir.path().join("state/notes.journal"))
    }

    fn job(&self) -> IngestJob {
        self.job_into(Arc::new(self.index.clone()))
    }

    fn job_into(&self, target: Arc<dyn IngestTarget>) -> IngestJob {
        let (events, root) = (self.events.clone(), self.notes());
        IngestJob::new(target, TenantScope::local()).observer(move |event| {
            let told = match event {
                IngestEvent::Found { files, untouched, gone } => {
                    format!("found {files} untouched {untouched} gone {gone}")
                }
                IngestEvent::File { path, end } => {
                    format!("{} {end:?}", path.strip_prefix(&root).unwrap().display())
                }
                IngestEvent::Skipped(skipped) => format!("skipped: {}", skipped.error),
                IngestEvent::Retrying { error } => format!("retrying: {error}"),
                IngestEvent::Progress { done, total } => {
                    assert!(done <= total, "{done} of {total}");
                    return;
                }
            };
            events.lock().unwrap().push(told);
        })
    }

    async fn sync(&self) -> IngestReport {
        let mut job = self.job();
        job.sync(&mut self.mirror(), &RunContext::new()).await.unwrap();
        job.report().clone()
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    async fn ids(&self) -> Vec<String> {
        let listed = self.index.list(&TenantScope::local(), None, 1000, &RunContext::new()).await.unwrap();
        listed.into_iter().map(|document| document.id.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn added_changed_and_vanished_files_are_taken_in_in_one_pass() {
    let place = Place::new().await;
    place.write("a.md", "one", 1);
    place.write("b/c.md", "two", 1);
    place.write("b.md", "three", 1);
    let first = place.sync().await;
    assert_eq!((first.documents, first.embedded, first.untouched), (3, 3, 0));
    assert_eq!(place.told()[0], "found 3 untouched 0 gone 0");
    let again = place.sync().await;
    assert_eq!(again, IngestReport { untouched: 3, ..IngestReport::default() });
    place.told();
    place.write("a.md", "ONE", 2);
    place.write("d.md", "four", 2);
    place.write("b.md", "three", 2);
    fs::remove_file(place.notes().join("b/c.md")).unwrap();
    let third = place.sync().await;
    assert_eq!((third.documents, third.unchanged, third.deleted, third.untouched), (2, 1, 1, 0));
    assert_eq!(
        place.told(),
        [
            "found 3 untouched 0 gone 1",
            "b/c.md Gone",
            "a.md Stored { documents: 1 }",
            "b.md Same",
            "d.md Stored { documents: 1 }"
        ]
    );
    assert_eq!(place.ids().await, ["a.md", "b.md", "d.md"]);
    assert_eq!(place.sync().await, IngestReport { untouched: 3, ..IngestReport::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_read_is_not_even_opened() {
    let place = Place::new().await;
    place.write("a.md", "one", 1);
    place.sync().await;
    // Another text of the same size and time is not noticed: that is what not reading means.
    place.write("a.md", "two", 1);
    assert_eq!(place.sync().await, IngestReport { untouched: 1, ..IngestReport::default() });
    // A file that was written just before it was read is not trusted.
    fs::write(place.notes().join("a.md"), "six").unwrap();
    assert_eq!(place.sync().await.documents, 1);
    let again = place.sync().await;
    assert_eq!((again.untouched, again.unchanged, again.documents), (0, 1, 0));
}

#[cfg(feature = "json")]
#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_gone_from_a_file_are_deleted() {
    let place = Place::new().await;
    let line = |id: u32| format!("{{\"id\":\"{id:03}\",\"text\":\"tea number {id}\"}}\n");
    let lines: String = (0..200).map(line).collect();
    place.write("r.jsonl", &lines, 1);
    assert_eq!(place.sync().await.documents, 200);
    // Another one in the place of the last, since the others would stand in other lines.
    place.write("r.jsonl", lines.replace(&line(199), &line(200)), 2);
    let second = place.sync().await;
    assert_eq!((second.documents, second.unchanged, second.deleted), (1, 199, 1));
    let ids = place.ids().await;
    assert_eq!((ids.len(), ids[199].as_str()), (200, "r.jsonl#200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_each_time_and_keeps_what_it_had() {
    let place = Place::new().await;
    place.write("a.md", "fine", 1);
    place.write("b.md", "fine as well", 1);
    place.sync().await;
    place.write("b.md", b"\xff\xff broken", 2);
    for untouched in [1, 2] {
        let report = place.sync().await;
        assert_eq!((report.untouched, report.deleted), (untouched, 0));
        assert!(report.skipped.len() == 1 && report.skipped[0].error.contains("b.md"), "{report:?}");
    }
    assert_eq!(place.ids().await, ["a.md", "b.md"]);
    place.write("b.md", "mended", 3);
    assert_eq!(place.sync().await.documents, 1);
    assert_eq!(place.sync().await.skipped, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_lost_is_taken_in_again_and_what_others_changed_is_not_deleted() {
    let place = Place::new().await;
    for name in ["a.md", "b.md", "c.md"] {
        place.write(name, name, 1);
    }
    place.sync().await;
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    place.index.delete(&scope, &[DocumentId::new("a.md").unwrap()], &ctx).await.unwrap();
    let other = SourceDocument::text("b.md", "put there by somebody else").unwrap();
    place.index.upsert(&scope, vec![other], &ctx).await.unwrap();
    fs::remove_file(place.notes().join("b.md")).unwrap();
    let report = place.sync().await;
    assert_eq!((report.documents, report.deleted, report.untouched), (1, 0, 1));
    assert_eq!(place.ids().await, ["a.md", "b.md", "c.md"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_does_not_empty_the_index_unasked() {
    let place = Place::new().await;
    place.write("a.md", "one", 1);
    place.sync().await;
    fs::remove_file(place.notes().join("a.md")).unwrap();
    let error = place.job().sync(&mut place.mirror(), &RunContext::new()).await.unwrap_err();
    assert!(error.is_invalid_input() && error.message().contains("holds no file any more"), "{error}");
    fs::remove_dir(place.notes()).unwrap();
    assert!(place.job().sync(&mut place.mirror(), &RunContext::new()).await.unwrap_err().is_not_found());
    fs::create_dir(place.notes()).unwrap();
    let mut job = place.job();
    job.sync(&mut place.mirror().may_empty(true), &RunContext::new()).await.unwrap();
    assert_eq!(job.report().deleted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_survives_a_cut_off_line_and_refuses_what_is_not_its_own() {
    let place = Place::new().await;
    place.write("a.md", "one", 1);
    place.write("b.md", "two", 1);
    place.sync().await;
    let state = place.dir.path().join("state/notes.journal");
    let whole = fs::read(&state).unwrap();
    fs::write(&state, &whole[..whole.len() - 20]).unwrap();
    let report = place.sync().await;
    assert_eq!((report.untouched, report.unchanged, report.documents), (1, 1, 0), "one was read again");
    let mut held = place.mirror();
    place.job().sync(&mut held, &RunContext::new()).await.unwrap();
    let error = place.job().sync(&mut place.mirror(), &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(held);
    let elsewhere = Mirror::new(place.dir.path(), &state);
    let error = place.job().sync(&mut { elsewhere }, &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    fs::write(&state, [&whole[..], b"nonsense\n"].concat()).unwrap();
    let error = place.job().sync(&mut place.mirror(), &RunContext::new()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("remove it"), "{error}");
}

/// A target that counts, refuses some documents, and can be made to stand still.
#[derive(Default)]
struct Odd {
    at_once: AtomicUsize,
    most: AtomicUsize,
    documents: AtomicUsize,
    still: bool,
}

#[async_trait]
impl IngestTarget for Odd {
    async fn upsert(
        &self,
        _: &TenantScope,
        documents: Vec<SourceDocument>,
        _: &RunContext,
    ) -> Result<UpsertReport> {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        if self.still {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if let Some(bad) = documents.iter().find(|document| document.source_text.contains("refuse me")) {
            return Err(Error::invalid_input(format!("document {} is refused", bad.id)));
        }
        self.documents.fetch_add(documents.len(), Ordering::SeqCst);
        Ok(UpsertReport { documents: documents.len() as u64, ..UpsertReport::default() })
    }

    async fn delete(&self, _: &TenantScope, _: &[DocumentId], _: &RunContext) -> Result<u64> {
        Ok(0)
    }

    async fn list(
        &self,
        _: &TenantScope,
        _: Option<&DocumentId>,
        _: usize,
        _: &RunContext,
    ) -> Result<Vec<DocumentSummary>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_refused_document_is_named_and_the_others_of_its_batch_go_in() {
    let place = Place::new().await;
    for n in 0..300 {
        place.write(&format!("{n:03}.txt"), if n % 100 == 50 { "refuse me" } else { "fine" }, 1);
    }
    let target = Arc::new(Odd::default());
    let mut job = place.job_into(target.clone());
    job.run(&[place.notes()], &RunContext::new()).await.unwrap();
    assert_eq!(job.report().documents, 297);
    let skipped: Vec<_> = job.report().skipped.iter().map(|s| s.error.as_str()).collect();
    assert_eq!(
        skipped,
        ["document 050.txt is refused", "document 150.txt is refused", "document 250.txt is refused"]
    );
    assert!(target.most.load(Ordering::SeqCst) <= 3, "no more than three batches at once");
    assert_eq!(place.told().iter().filter(|told| told.ends_with("Stored { documents: 1 }")).count(), 297);
}

#[tokio::test]
async fn a_target_that_stands_still_holds_up_the_reader_and_can_be_given_up_on() {
    let place = Place::new().await;
    for n in 0..40 {
        place.write(&format!("{n:02}.txt"), "tea ".repeat(1 << 20), 1);
    }
    let target = Arc::new(Odd { still: true, ..Odd::default() });
    let ctx = RunContext::new();
    let (mut job, stop) = (place.job_into(target.clone()), ctx.clone());
    let notes = place.notes();
    let running = tokio::spawn(async move { (job.run(&[notes], &stop).await, job.report().clone()) });
    while target.most.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    ctx.cancel();
    let (ended, report) = running.await.unwrap();
    assert!(ended.unwrap_err().is_stopped());
    assert_eq!(report, IngestReport::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_is_followed_until_it_is_stopped() {
    let place = Place::new().await;
    place.write("a.md", "one", 1);
    place.write("bad.md", b"\xff\xff", 1);
    let ctx = RunContext::new();
    let (mut job, mut mirror, stop) = (place.job(), place.mirror(), ctx.clone());
    let watching = tokio::spawn(async move {
        let ended = job.watch(&mut mirror, Duration::from_millis(1), &stop).await;
        (ended, job.report().clone())
    });
    let events = place.events.clone();
    let heard = |what: &'static str| {
        let events = events.clone();
        async move {
            while !events.lock().unwrap().iter().any(|told| told == what) {
                tokio::task::yield_now().await;
            }
        }
    };
    heard("a.md Stored { documents: 1 }").await;
    place.write("b.md", "two", 2);
    heard("b.md Stored { documents: 1 }").await;
    fs::remove_file(place.notes().join("a.md")).unwrap();
    heard("a.md Gone").await;
    let aside = place.dir.path().join("aside");
    fs::rename(place.notes(), &aside).unwrap();
    while !events.lock().unwrap().iter().any(|told| told.starts_with("retrying")) {
        tokio::task::yield_now().await;
    }
    fs::rename(&aside, place.notes()).unwrap();
    place.write("c.md", "three", 3);
    heard("c.md Stored { documents: 1 }").await;
    ctx.cancel();
    let (ended, report) = watching.await.unwrap();
    assert!(ended.unwrap_err().is_stopped());
    assert_eq!((report.documents, report.deleted), (3, 1), "{report:?}");
    assert!(report.skipped[0].error.contains("bad.md"), "{report:?}");
    assert_eq!(place.ids().await, ["b.md", "c.md"]);
}

#[test]
fn the_names_of_files_are_paths_below_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.md"), "x").unwrap();
    let files = crate::load::walk(dir.path(), &crate::load::LoadOptions::default()).unwrap();
    let path = dir.path().join("a.md");
    assert_eq!(files.below_root(&path), Path::new("a.md"));
}
