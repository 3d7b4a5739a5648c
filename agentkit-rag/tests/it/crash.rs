//! `kill -9` of a process that writes: what was acknowledged is there, and nothing half.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{DocumentId, Retriever, RunContext, SearchPlan, SearchRequest, TenantScope};
use agentkit_rag::{Index, SourceDocument};

/// Set for the process that is to be killed: the index's folder and the number of its first operation.
const FOLDER: &str = "AGENTKIT_CRASH_FOLDER";
const FIRST: &str = "AGENTKIT_CRASH_FIRST";
/// How many kills; the default keeps the test short.
const ROUNDS: &str = "AGENTKIT_CRASH_ROUNDS";
/// Documents that are written over and over.
const DOCUMENTS: u64 = 12;

/// Operation number `n` of the endless, fixed list: a batch of upserts and one delete.
fn operation(n: u64) -> (Vec<SourceDocument>, Option<String>) {
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let documents = (0..=mixed % 3).map(|i| {
        let id = format!("doc{}", (mixed + i * 5) % DOCUMENTS);
        let text = format!("common unique{n}x{i} filler words here. ")
            .repeat(usize::try_from(1 + (mixed + i) % 40).expect("small"));
        SourceDocument::text(id, text).expect("a valid id")
    });
    let delete = mixed.is_multiple_of(4).then(|| format!("doc{}", (mixed / 7) % DOCUMENTS));
    (documents.collect(), delete)
}

/// Not a test of its own: the process that the test below kills. It says `begin` and `ack` for each operation.
#[test]
fn writer_to_be_killed() {
    let variable = |name| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let (Some(folder), Some(first)) = (variable(FOLDER), variable(FIRST)) else { return };
    let first: u64 = first.parse().expect("a number");
    runtime().block_on(async {
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let index = open(Path::new(&folder)).await;
        let mut out = std::io::stdout().lock();
        for n in first.. {
            let (documents, delete) = operation(n);
            writeln!(out, "begin {n}").and_then(|()| out.flush()).expect("the parent listens");
            index.upsert(&scope, documents, &ctx).await.expect("the upsert succeeds");
            writeln!(out, "half {n}").and_then(|()| out.flush()).expect("the parent listens");
            if let Some(id) = delete {
                index
                    .delete(&scope, &[DocumentId::new(id).expect("valid")], &ctx)
                    .await
                    .expect("the delete succeeds");
            }
            writeln!(out, "ack {n}").and_then(|()| out.flush()).expect("the parent listens");
        }
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    let rounds: u64 = std::env::var_os(ROUNDS).and_then(|r| r.into_string().ok()?.parse().ok()).unwrap_or(50);
    let folder = tempfile::tempdir().unwrap();
    let mut model = BTreeMap::new();
    let mut next = 0;
    let (mut in_commit, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds {
        let progress = run_and_kill(folder.path(), next, kill_after(round));
        in_commit += u64::from(progress.inside);
        for n in next..progress.acknowledged {
            apply_upserts(&mut model, n);
            apply_delete(&mut model, n);
        }
        next = progress.acknowledged;
        let opened = Instant::now();
        runtime().block_on(async {
            let index = open(folder.path()).await;
            settle(&index, &mut model, &progress).await;
            slowest = slowest.max(opened.elapsed());
            verify(&index, &model).await;
        });
        next += u64::from(progress.inside);
    }
    eprintln!("{rounds} kills, {in_commit} of them inside a write, slowest opening and check {slowest:?}");
    assert!(slowest < Duration::from_secs(50), "opening took {slowest:?}");
    assert!(rounds < 20 || in_commit * 3 > rounds, "only {in_commit} of {rounds} kills hit a write");
}

/// How far the killed process came.
struct Progress {
    /// Operations before this one were acknowledged.
    acknowledged: u64,
    /// Operation `acknowledged` had begun.
    inside: bool,
    /// Its upserts were acknowledged.
    half: bool,
}

/// A different moment each round, from at once to a few dozen commits.
fn kill_after(round: u64) -> Duration {
    Duration::from_micros(round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 45)
}

fn run_and_kill(folder: &Path, first: u64, after: Duration) -> Progress {
    let mut child = spawn(folder, first);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut progress = Progress { acknowledged: first, inside: false, half: false };
    let mut note = |line: &str| match line.split_once(' ') {
        Some(("begin", _)) => {
            progress = Progress { acknowledged: progress.acknowledged, inside: true, half: false }
        }
        Some(("half", _)) => progress.half = true,
        Some(("ack", n)) => {
            progress = Progress {
                acknowledged: n.parse::<u64>().expect("a number") + 1,
                inside: false,
                half: false,
            };
        }
        _ => {}
    };
    for line in lines.by_ref() {
        let line = line.expect("text");
        note(&line);
        if line.starts_with("begin") {
            break;
        }
    }
    let killer = std::thread::spawn(move || {
        let (_sender, never) = std::sync::mpsc::channel::<()>();
        let _ = never.recv_timeout(after);
        child.kill().expect("the process is ours");
        child.wait().expect("it ends")
    });
    for line in lines {
        note(&line.unwrap_or_default());
    }
    killer.join().expect("the killer ends");
    progress
}

fn spawn(folder: &Path, first: u64) -> Child {
    let itself: PathBuf = std::env::current_exe().expect("the test binary");
    Command::new(itself)
        .args(["--exact", "crash::writer_to_be_killed", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test binary starts")
}

fn apply_upserts(model: &mut BTreeMap<String, String>, n: u64) {
    for document in operation(n).0 {
        model.insert(document.id.to_string(), document.source_text);
    }
}

fn apply_delete(model: &mut BTreeMap<String, String>, n: u64) {
    if let Some(id) = operation(n).1 {
        model.remove(&id);
    }
}

/// An operation that was not acknowledged is there as a whole or not at all: finds out which, and finishes it.
async fn settle(index: &Index, model: &mut BTreeMap<String, String>, progress: &Progress) {
    if !progress.inside {
        return;
    }
    let n = progress.acknowledged;
    let mut after = model.clone();
    apply_upserts(&mut after, n);
    let stored = contents(index).await;
    let mut deleted = after.clone();
    apply_delete(&mut deleted, n);
    let possible = if progress.half { vec![&after, &deleted] } else { vec![&*model, &after, &deleted] };
    assert!(possible.contains(&&stored), "operation {n} is there by half");
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let (documents, delete) = operation(n);
    index.upsert(&scope, documents, &ctx).await.expect("the upsert succeeds");
    if let Some(id) = delete {
        index
            .delete(&scope, &[DocumentId::new(id).expect("valid")], &ctx)
            .await
            .expect("the delete succeeds");
    }
    *model = deleted;
}

async fn contents(index: &Index) -> BTreeMap<String, String> {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let mut contents = BTreeMap::new();
    for listed in index.list(&scope, None, 1000, &ctx).await.expect("listing works") {
        let stored =
            index.get(&scope, &listed.id, &ctx).await.expect("reading works").expect("it was listed");
        contents.insert(listed.id.to_string(), stored.source_text);
    }
    contents
}

/// The index holds just the model, and both legs hold the same chunks.
async fn verify(index: &Index, model: &BTreeMap<String, String>) {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    assert_eq!(&contents(index).await, model);
    let mut legs = Vec::new();
    for plan in [SearchPlan::dense(), SearchPlan::lexical()] {
        let request = SearchRequest::new(scope.clone(), "common").plan(plan).top_k(1000);
        let hits = index.search(&request, &ctx).await.expect("searching works").hits;
        let mut chunks: Vec<(String, String)> =
            hits.into_iter().map(|hit| (hit.passage.chunk_id.to_string(), hit.passage.text)).collect();
        chunks.sort();
        legs.push(chunks);
    }
    assert_eq!(legs[0], legs[1], "both legs hold the same chunks");
    assert_eq!(legs[0].len() as u64, index.stats(&scope).await.expect("stats").chunks);
}

async fn open(folder: &Path) -> Index {
    Index::open(folder, Arc::new(HashingEmbedder::default())).await.expect("the index opens")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}
