//! The evaluation: figures equal to an outside tool's, runs that survive a file, folding over a retriever.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentkit_core::{
    ChunkId, DocumentId, Error, ErrorKind, Explanation, Hit, Locator, Metadata, Passage, Result, Retriever,
    RunContext, SearchPlan, SearchRequest, SearchResponse, Span, TenantScope,
};
use agentkit_rag::eval::{Dataset, EvalLeg, EvalOptions, Ranked, Run, Scores, evaluate};
use async_trait::async_trait;
use serde::Deserialize;

/// Made by `pytrec_eval` from the run and judgements beside it.
#[derive(Deserialize)]
struct Expected {
    queries: HashMap<String, Scores>,
    mean: Scores,
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/eval")
}

fn close(a: Scores, b: Scores) -> bool {
    let pairs = [
        (a.ndcg_at_10, b.ndcg_at_10),
        (a.recall_at_10, b.recall_at_10),
        (a.recall_at_100, b.recall_at_100),
        (a.mrr, b.mrr),
    ];
    pairs.iter().all(|(a, b)| (a - b).abs() < 1e-9)
}

#[test]
fn scores_equal_those_of_pytrec_eval() {
    let expected: Expected =
        serde_json::from_str(&fs::read_to_string(fixture().join("expected.json")).unwrap()).unwrap();
    let dataset = Dataset::load(fixture()).unwrap();
    let run = Run::read_trec(fs::read(fixture().join("run.trec")).unwrap().as_slice()).unwrap();
    for (query, scores) in &expected.queries {
        let ours = Scores::of(run.ranking(query), &dataset.judgements()[query]);
        assert!(close(ours, *scores), "{query}: {ours:?}, expected {scores:?}");
    }
    let mean = run.score(dataset.judgements());
    assert!(close(mean, expected.mean), "{mean:?}, expected {:?}", expected.mean);
    assert_eq!(dataset.judged_queries().count(), 11, "one of the twelve queries has no relevant document");
}

#[test]
fn a_run_survives_its_file_and_ties_keep_their_order() {
    let ranked = |document: &str, score| Ranked { document: document.into(), score };
    let mut run = Run::default();
    let tied =
        [ranked("b", 0.5), ranked("a", 0.5), ranked("c d\t%", 0.5), ranked("z", 0.75), ranked("b", 0.25)];
    run.insert("query one", tied);
    run.insert("q2", [ranked("ü", -1.0), ranked("100%", f32::MIN_POSITIVE)]);
    let order = |run: &Run, query| run.ranking(query).iter().map(|r| r.document.clone()).collect::<Vec<_>>();
    assert_eq!(order(&run, "query one"), ["z", "a", "b", "c d\t%"]);

    let mut file = Vec::new();
    run.write_trec("hybrid", &mut file).unwrap();
    let text = String::from_utf8(file.clone()).unwrap();
    assert!(text.lines().all(|line| line.split(' ').count() == 6), "{text}");
    let back = Run::read_trec(file.as_slice()).unwrap();
    for query in ["query one", "q2"] {
        assert_eq!(order(&back, query), order(&run, query));
        let scores: Vec<f32> = back.ranking(query).iter().map(|ranked| ranked.score).collect();
        assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "outside tools see no ties: {scores:?}");
    }
    assert!(run.write_trec("two words", &mut Vec::new()).unwrap_err().is_invalid_input());
    for bad in ["q Q0 d 1 x tag", "q Q0 d 1 0.5", "q Q0 d 1 NaN tag", "q Q0 d 1 0.5 tag more"] {
        let error = Run::read_trec(format!("\n{bad}\n").as_bytes()).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains("line 2"), "{bad}: {error}");
    }
}

#[test]
fn documents_come_with_titles_and_a_title_stands_in_for_missing_text() {
    let documents: Vec<_> =
        Dataset::load(fixture()).unwrap().documents().unwrap().map(Result::unwrap).collect();
    let seen: Vec<_> =
        documents.iter().map(|d| (d.id.as_str(), d.title.as_deref(), d.source_text.as_str())).collect();
    let expected = [
        ("d0", Some("First"), "The first document."),
        ("d1", Some("Only a title"), "Only a title"),
        ("d2", None, "No title here."),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn malformed_sets_are_refused_with_file_and_line() {
    let qrels = "query-id\tcorpus-id\tscore\n";
    for (file, content, place) in [
        ("queries.jsonl", "{\"_id\":\"q\",\"text\":\"a\"}\nnot json\n".to_owned(), "queries.jsonl:2"),
        ("queries.jsonl", "{\"_id\":\"q\",\"text\":\" \"}\n".to_owned(), "queries.jsonl:1"),
        (
            "queries.jsonl",
            "{\"_id\":\"q0\",\"text\":\"a\"}\n\n{\"_id\":\"q0\",\"text\":\"b\"}".to_owned(),
            "queries.jsonl:3",
        ),
        ("qrels.tsv", "q0\td0\t1\n".to_owned(), "qrels.tsv:1"),
        ("qrels.tsv", format!("{qrels}q0\td0\n"), "qrels.tsv:2"),
        ("qrels.tsv", format!("{qrels}q0\td0\tmany\n"), "qrels.tsv:2"),
        ("qrels.tsv", format!("{qrels}unknown\td0\t1\n"), "qrels.tsv:2"),
        ("qrels.tsv", format!("{qrels}q0\td0\t1\nq0\td0\t1\n"), "qrels.tsv:3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for name in ["corpus.jsonl", "queries.jsonl", "qrels.tsv"] {
            fs::copy(fixture().join(name), folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join(file), &content).unwrap();
        let error = Dataset::load(folder.path()).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(place), "{content:?}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = Dataset::load(folder.path()).unwrap_err();
    assert!(missing.is_not_found() && missing.message().contains("corpus.jsonl"));
}

/// Documents of twelve chunks each; only the lexical leg finds the wanted one first.
#[derive(Default)]
struct Library {
    largest: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

const CHUNKS: usize = 12;

#[async_trait]
impl Retriever for Library {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        ctx.check()?;
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.largest.fetch_max(request.top_k, Ordering::SeqCst);
        let lexical = match &request.plan {
            SearchPlan::Lexical { candidates } => {
                assert_eq!(*candidates, request.top_k);
                true
            }
            _ => false,
        };
        let hit = |n: usize| {
            let document = if lexical { n / CHUNKS } else { 159 - n / CHUNKS };
            Hit {
                passage: Passage {
                    chunk_id: ChunkId::new(format!("d{document}#{n}")).unwrap(),
                    document_id: DocumentId::new(format!("d{document}")).unwrap(),
                    title: None,
                    text: "x".into(),
                    span: Span::new(0, 1),
                    locator: Locator::default(),
                },
                score: 1.0 / (1.0 + f32::from(u16::try_from(n).unwrap())),
                metadata: Metadata::new(),
                explanation: Explanation::default(),
            }
        };
        Ok(SearchResponse::new((0..request.top_k.min(160 * CHUNKS)).map(hit).collect(), 0, 1))
    }
}

#[tokio::test]
async fn runs_are_over_documents_and_the_report_has_the_agreed_shape() {
    let dataset = Dataset::load(fixture()).unwrap();
    let library = Library::default();
    let calls = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let options = EvalOptions::new(TenantScope::local())
        .concurrency(3)
        .on_progress(move |progress| seen.lock().unwrap().push(progress));
    let report = evaluate(&library, &dataset, &options, &RunContext::new()).await.unwrap();

    let json = serde_json::to_string(&report).unwrap();
    let shape = json.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect::<String>();
    let leg = r#":{"ndcg@":,"recall@":,"recall@":,"mrr":}"#;
    assert_eq!(shape, format!(r#"{{"bm"{leg},"dense"{leg},"hybrid"{leg}}}"#), "{json}");

    let lexical = report.leg(EvalLeg::Bm25).unwrap();
    let ranking = lexical.run.ranking("q0");
    assert_eq!(library.largest.load(Ordering::SeqCst), 1000, "it asked on, up to the most allowed");
    assert_eq!(ranking.len(), 1000_usize.div_ceil(CHUNKS));
    assert_eq!(ranking[1], Ranked { document: "d1".into(), score: 1.0 / 13.0 });
    assert_eq!(library.most_running.load(Ordering::SeqCst), 3);
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 33);
    assert_eq!((calls[10].leg, calls[10].done, calls[10].total), (EvalLeg::Bm25, 11, 11));
}

struct Broken;

#[async_trait]
impl Retriever for Broken {
    async fn search(&self, _: &SearchRequest, _: &RunContext) -> Result<SearchResponse> {
        Err(Error::new(ErrorKind::Corrupt, "the index is damaged"))
    }
}

#[tokio::test]
async fn an_evaluation_stops_with_its_context_and_names_the_query_that_failed() {
    let dataset = Dataset::load(fixture()).unwrap();
    let options = EvalOptions::new(TenantScope::local()).legs([EvalLeg::Dense]);
    let ctx = RunContext::new();
    let error = evaluate(&Broken, &dataset, &options, &ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.chain().contains("dense") && error.chain().ends_with("the index is damaged"), "{error:?}");
    ctx.cancel();
    let stopped = evaluate(&Library::default(), &dataset, &options, &ctx).await.unwrap_err();
    assert!(stopped.is_stopped());
}
