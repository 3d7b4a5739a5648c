//! The evaluation: figures equal to an outside tool's, runs that survive a file, folding over a retriever.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentkit_core::{
    ChunkId, DocumentId, Error, ErrorKind, Explanation, Hit, Locator, Metadata, Passage, Result, Retriever,
    RunContext, SearchPlan, SearchRequest, SearchResponse, Span, TenantScope,
};
use agentkit_rag::eval::{
    Dataset, EvalOptions, Metric, NamedPlan, Query, Question, Ranked, Report, Run, Scores, evaluate,
    read_qrels, read_queries, read_questions,
};
use async_trait::async_trait;
use serde::Deserialize;

/// Made by `pytrec_eval` from the run and judgements beside it.
#[derive(Deserialize)]
struct Expected {
    queries: HashMap<String, BTreeMap<Metric, f64>>,
    mean: BTreeMap<Metric, f64>,
}

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder)
}

fn fixture() -> PathBuf {
    data("eval")
}

fn metric(name: &str) -> Metric {
    name.parse().unwrap()
}

#[test]
fn scores_equal_those_of_pytrec_eval_ties_and_missing_queries_included() {
    let folder = data("metrics");
    let expected: Expected =
        serde_json::from_str(&fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let judgements = read_qrels(folder.join("qrels.trec")).unwrap().by_query;
    let run = Run::read_trec(fs::read(folder.join("run.trec")).unwrap().as_slice()).unwrap();
    assert_eq!((run.queries().count(), judgements.len(), expected.queries.len()), (40, 40, 39));
    for (query, values) in &expected.queries {
        for (metric, value) in values {
            let ours = metric.score(run.ranking(query), &judgements[query]);
            assert!((ours - value).abs() < 1e-9, "{query} {metric}: {ours}, expected {value}");
        }
    }
    let metrics: Vec<Metric> = expected.mean.keys().copied().collect();
    assert_eq!(metrics.len(), 35);
    let scores = Scores::of(&run, &judgements, &metrics);
    assert!(!scores.queries().contains(&"q38".to_owned()), "it has no relevant document");
    for (metric, value) in &expected.mean {
        let ours = scores.mean(*metric).unwrap();
        assert!((ours - value).abs() < 1e-9, "{metric}: {ours}, expected {value}");
    }
}

fn ranked(document: &str, score: f32) -> Ranked {
    Ranked { document: document.into(), score }
}

fn order(run: &Run, query: &str) -> Vec<String> {
    run.ranking(query).iter().map(|ranked| ranked.document.clone()).collect()
}

fn through_a_file(run: &Run) -> Run {
    let mut file = Vec::new();
    run.write_trec("hybrid", &mut file).unwrap();
    let text = String::from_utf8(file.clone()).unwrap();
    assert!(text.lines().all(|line| line.split(' ').count() == 6), "{text}");
    Run::read_trec(file.as_slice()).unwrap()
}

#[test]
fn a_run_by_score_survives_its_file_and_orders_ties_as_trec_eval_does() {
    let mut run = Run::default();
    let tied =
        [ranked("b", 0.5), ranked("a", 0.5), ranked("c d\t%", 0.5), ranked("z", 0.75), ranked("b", 0.25)];
    run.insert("query one", tied);
    run.insert("q2", [ranked("ü", -1.0), ranked("100%", f32::MIN_POSITIVE)]);
    assert_eq!(order(&run, "query one"), ["z", "c d\t%", "b", "a"]);
    assert_eq!(through_a_file(&run), run);
    assert!(run.write_trec("two words", &mut Vec::new()).unwrap_err().is_invalid_input());
}

#[test]
fn a_run_in_order_keeps_it_in_every_tool_that_sorts_by_score() {
    let mut run = Run::default();
    let given = [
        ranked("a", 0.5),
        ranked("b", 0.5),
        ranked("late", 0.9),
        ranked("a", 0.1),
        ranked("odd", f32::NAN),
        ranked("c", 0.25),
    ];
    run.insert_in_order("q", given);
    run.insert_in_order("endless", [ranked("x", f32::INFINITY), ranked("y", f32::MAX)]);
    assert_eq!(order(&run, "q"), ["a", "b", "late", "odd", "c"]);
    let scores: Vec<f32> = run.ranking("q").iter().map(|ranked| ranked.score).collect();
    assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{scores:?}");
    assert_eq!((scores[0], scores[4]), (0.5, 0.25));
    assert_eq!(order(&run, "endless"), ["x", "y"]);
    assert_eq!(through_a_file(&run), run);
}

#[test]
fn malformed_runs_are_refused_with_their_line() {
    for bad in
        ["q Q0 d 1 x tag", "q Q0 d 1 0.5", "q Q0 d 1 NaN tag", "q Q0 d 1 1e99 tag", "q Q0 d 1 0.5 tag more"]
    {
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
        ("qrels.tsv", "q0\td0\t1\n".to_owned(), "qrels.tsv:1: expected the header"),
        ("qrels.tsv", format!("{qrels}q0\td0\n"), "qrels.tsv:2"),
        ("qrels.tsv", format!("{qrels}q0\td0\tmany\n"), "qrels.tsv:2"),
        ("qrels.tsv", format!("{qrels}unknown\td0\t1\n"), "qrels.tsv: query \"unknown\""),
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

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    file
}

fn query(id: &str, text: &str) -> Query {
    Query { id: id.into(), text: text.into() }
}

#[test]
fn topics_of_trec_are_read_with_or_without_closing_tags() {
    let topics = file(
        "<top>\n\n<num> Number: 301 \n<title> International Organized Crime \n\n<desc> Description: \nIdentify \
         organizations\n<narr> Narrative: \nwith <title> no end\n</top>\n\n<top><num>302</num><title>Topic: a < b\n \
         or more</title></top>\n",
    );
    let read = read_queries(topics.path()).unwrap();
    assert_eq!(read, [query("301", "International Organized Crime no end"), query("302", "a < b or more")]);

    for (content, part) in [
        ("<top><num> 1 <title> a", ": the last topic has no end"),
        ("<top><num> 1\n<title>\n</top>", ":3: query \"1\" has no text"),
        ("<top><title> a </top>", ":1: a query has no id"),
        ("<top><num> 1 <title> a </top>\n<top><num> 1 <title> b </top>", ":2: query \"1\" occurs twice"),
    ] {
        let error = read_queries(file(content).path()).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(part), "{content:?}: {error}");
    }
}

#[test]
fn queries_may_be_ids_and_texts_with_tabs_between() {
    let read = read_queries(file("1037\twho wrote it\n\n2\ta\tb\n").path()).unwrap();
    assert_eq!(read, [query("1037", "who wrote it"), query("2", "a\tb")]);
    assert!(read_queries(file("").path()).unwrap().is_empty());
    let error = read_queries(file("1\ta\nno tab\n").path()).unwrap_err();
    assert!(error.message().contains(":2: expected a JSON object, a topic"), "{error}");
}

#[test]
fn judgements_of_trec_may_be_about_more_than_the_topics() {
    let topics = file("1\tone\n2\ttwo\n");
    let qrels = file("1 0 FBIS3-1 1\n1\t0\tFBIS3-2\t-1\n3 0 FT911-3 2\n");
    let dataset = Dataset::read(topics.path(), qrels.path()).unwrap();
    let judged: Vec<_> =
        dataset.judgements().iter().map(|(query, judged)| (query.as_str(), judged.len())).collect();
    assert_eq!(judged, [("1", 2)]);
    assert_eq!(dataset.judged_queries().collect::<Vec<_>>(), [&query("1", "one")]);
    assert_eq!(dataset.documents().unwrap().count(), 0);
    for (content, part) in
        [("1 0 a 1\n1 0 a 2\n", ":2: query \"1\" judges"), ("1 0 a\n", ":1: expected"), ("1 0 a x", ":1:")]
    {
        let error = read_qrels(file(content).path()).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(part), "{content:?}: {error}");
    }
}

#[test]
fn questions_are_a_data_set_of_their_own() {
    let questions = file(
        "{\"id\":\"q1\",\"question\":\"how hot?\",\"answers\":[\"80 degrees\"],\"context_id\":\"tea\",\"more\":1}\n\
         {\"id\":\"q2\",\"question\":\"how old?\",\"answers\":[],\"context_id\":\"tea\",\"answerable\":false}\n",
    );
    let read = read_questions(questions.path()).unwrap();
    let expected = [
        Question::new("q1", "how hot?").answers(["80 degrees"]).context_id("tea"),
        Question::new("q2", "how old?").context_id("tea").unanswerable(),
    ];
    assert_eq!(read, expected);
    let dataset = Dataset::from_questions(&read).unwrap();
    assert_eq!(dataset.queries().len(), 2);
    assert_eq!(dataset.judged_queries().collect::<Vec<_>>(), [&query("q1", "how hot?")]);
    assert_eq!(dataset.judgements()["q1"], HashMap::from([("tea".to_owned(), 1)]));

    for (content, part) in [
        ("{\"id\":\"q\",\"question\":\" \"}", ":1: question \"q\" has no text"),
        ("{\"id\":\"q\"}", ":1: the line is not a record"),
        (
            "{\"id\":\"q\",\"question\":\"a\"}\n{\"id\":\"q\",\"question\":\"b\"}",
            ":2: question \"q\" occurs twice",
        ),
    ] {
        let error = read_questions(file(content).path()).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(part), "{content:?}: {error}");
    }
}

#[test]
fn a_folder_without_queries_is_made_of_its_questions() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture().join("corpus.jsonl"), folder.path().join("corpus.jsonl")).unwrap();
    let questions = "{\"id\":\"q1\",\"question\":\"first?\",\"context_id\":\"d0\"}\n";
    fs::write(folder.path().join("questions.jsonl"), questions).unwrap();
    let dataset = Dataset::load(folder.path()).unwrap();
    assert_eq!((dataset.judged_queries().count(), dataset.documents().unwrap().count()), (1, 3));
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
        let lexical = matches!(request.plan, SearchPlan::Lexical { .. });
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
async fn runs_are_over_documents_and_the_report_survives_its_file() {
    let dataset = Dataset::load(fixture()).unwrap();
    let library = Library::default();
    let calls = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let options = EvalOptions::new(TenantScope::local())
        .concurrency(3)
        .on_progress(move |progress| seen.lock().unwrap().push(progress));
    let report = evaluate(&library, &dataset, &options, &RunContext::new()).await.unwrap();

    let stored = serde_json::to_string(&report).unwrap();
    let back: Report = serde_json::from_str(&stored).unwrap();
    let names = |report: &Report| report.runs().iter().map(|run| run.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&back), ["bm25", "dense", "hybrid"]);
    assert_eq!((back.queries(), back.metrics()), (11, Metric::usual()));
    for (metric, before) in &report.run("bm25").unwrap().metrics {
        let after = back.run("bm25").unwrap().metrics[metric];
        assert!((after.mean - before.mean).abs() < 1e-12 && (after.high - before.high).abs() < 1e-12);
    }
    let same = back.compare(&back.runs()[1], &report.runs()[2]).unwrap()[&metric("mrr")];
    assert_eq!((same.better, same.worse), (0, 0), "to it, dense and hybrid are one");
    let lexical = report.run("bm25").unwrap();
    let latency = lexical.latency.unwrap();
    assert!(latency.p50_ms > 0.0 && latency.p50_ms <= latency.p95_ms, "{latency:?}");
    assert_eq!(lexical.plan, Some(SearchPlan::lexical()));

    let ranking = lexical.run.ranking("q0");
    assert_eq!(library.largest.load(Ordering::SeqCst), 1000, "it asked on, up to the most allowed");
    assert_eq!(ranking.len(), 1000_usize.div_ceil(CHUNKS));
    assert_eq!(ranking[1], Ranked { document: "d1".into(), score: 1.0 / 13.0 });
    assert_eq!(library.most_running.load(Ordering::SeqCst), 3);
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 33);
    assert_eq!((calls[10].run, calls[10].runs, calls[10].done, calls[10].total), (0, 3, 11, 11));
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
    let options =
        EvalOptions::new(TenantScope::local()).plans([NamedPlan::new("dense", SearchPlan::dense())]);
    let ctx = RunContext::new();
    let error = evaluate(&Broken, &dataset, &options, &ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.chain().contains("dense") && error.chain().ends_with("the index is damaged"), "{error:?}");
    ctx.cancel();
    let stopped = evaluate(&Library::default(), &dataset, &options, &ctx).await.unwrap_err();
    assert!(stopped.is_stopped());
}
