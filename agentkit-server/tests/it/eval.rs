//! `eval` as a command: sets of every form, servers, sweeps, reports, and a gate with an exit code of its own.

use std::fs;

use serde_json::{Value, json};

use crate::cli::{Folder, Server, text};

const CORPUS: &str = r#"{"_id": "tea", "title": "Tea", "text": "Green tea is best at 80 degrees."}
{"_id": "coffee", "title": "Coffee", "text": "Espresso is pressed through the grounds at nine bar."}
{"_id": "cocoa", "title": "Cocoa", "text": "Cocoa was drunk cold by the Maya, spiced with chilli."}
"#;
const QUERIES: &str = r#"{"_id": "q1", "text": "how hot is green tea best?"}
{"_id": "q2", "text": "espresso pressure in bar"}
{"_id": "q3", "text": "who drank cocoa cold?"}
"#;
const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\ttea\t1\nq2\tcoffee\t1\nq3\tcocoa\t1\n";
const QUESTIONS: &str = r#"{"id": "q1", "question": "At how many degrees is green tea best?", "answers": ["80 degrees"], "context_id": "tea"}
{"id": "q2", "question": "Who painted the ceiling of the chapel?", "answers": [], "answerable": false}
"#;

/// A folder with a data set `set`.
fn with_set() -> Folder {
    let folder = Folder::new();
    let set = folder.path().join("set");
    fs::create_dir(&set).unwrap();
    for (name, content) in [
        ("corpus.jsonl", CORPUS),
        ("queries.jsonl", QUERIES),
        ("qrels.tsv", QRELS),
        ("questions.jsonl", QUESTIONS),
    ] {
        fs::write(set.join(name), content).unwrap();
    }
    folder
}

/// The objects printed, and the exit code.
fn outcome(folder: &Folder, arguments: &[&str]) -> (Vec<Value>, Option<i32>, String) {
    let output = folder.command(&[&["eval"], arguments].concat()).arg("--json").output().unwrap();
    let objects = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (objects, output.status.code(), text(&output.stderr))
}

#[test]
fn the_figures_of_every_leg_are_printed_and_written_in_every_form() {
    let folder = with_set();
    let reports = ["a.json", "a.md", "a.svg"].map(|name| ["--report", name]).concat();
    let (objects, code, errors) =
        outcome(&folder, &[&["--dataset", "set", "--run", "a.trec"], &reports[..]].concat());
    assert_eq!((code, objects.len()), (Some(0), 1), "{errors}");
    for (leg, figures) in objects[0].as_object().unwrap() {
        for metric in ["ndcg@10", "recall@10", "recall@100", "mrr", "map", "hit@10"] {
            assert_eq!(figures[metric], 1.0, "{leg} {metric}: {figures}");
        }
        assert!((figures["precision@10"].as_f64().unwrap() - 0.1).abs() < 1e-12, "{leg}");
    }
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let stored: Value = serde_json::from_str(&read("a.json")).unwrap();
    assert_eq!(stored["runs"][2]["scores"]["values"]["mrr"], json!([1.0, 1.0, 1.0]));
    assert!(read("a.md").contains("| hybrid | 1.0000 [1.000, 1.000] |"), "{}", read("a.md"));
    assert!(read("a.svg").starts_with("<svg ") && read("a.svg").contains(">dense</text>"));
    for name in ["a.trec", "a.trec.bm25", "a.trec.dense"] {
        assert!(read(name).starts_with("q1 Q0 tea 1 "), "{name}: {}", read(name));
    }
    let output = folder.run(&["eval", "--dataset", "set"]);
    let table = text(&output.stdout);
    assert!(table.contains("best ndcg@10: bm25, 1.0000") && table.contains("p50 ms"), "{table}");
}

#[test]
fn a_gate_that_is_missed_says_by_how_much_and_has_an_exit_code_of_its_own() {
    let folder = with_set();
    let (objects, code, errors) =
        outcome(&folder, &["--dataset", "set", "--min", "ndcg@10=0.9", "--min", "map@3=1"]);
    assert_eq!((code, &objects[1]["gate"]["passed"]), (Some(0), &json!(true)), "{errors}");

    let (objects, code, errors) =
        outcome(&folder, &["--dataset", "set", "--min", "precision@10=0.75", "--min", "bm25:mrr=1"]);
    assert_eq!(code, Some(3), "{errors}");
    assert_eq!(objects[1]["gate"]["misses"][0]["metric"], "precision@10");
    assert!(
        errors.contains(
            "the gate is missed: hybrid precision@10 is 0.1000, 0.6500 below the minimum of 0.7500"
        ),
        "{errors}"
    );
    for (wrong, code) in [("mrr", 2), ("bleu=1", 2), ("other:mrr=1", 1)] {
        let (_, found, errors) = outcome(&folder, &["--dataset", "set", "--min", wrong]);
        assert_eq!(found, Some(code), "{wrong}: {errors}");
    }
}

#[test]
fn a_baseline_may_be_a_report_or_a_ranking_and_what_fell_below_it_is_named() {
    let folder = with_set();
    assert_eq!(
        outcome(&folder, &["--dataset", "set", "--report", "good.json", "--run", "good.trec"]).1,
        Some(0)
    );
    for baseline in ["good.json", "good.trec"] {
        let same = outcome(&folder, &["--dataset", "set", "--baseline", baseline]);
        assert_eq!(same.1, Some(0), "{}", same.2);
    }
    // The second ranking has the relevant document of q1 behind another.
    fs::write(
        folder.path().join("hybrid"),
        "q1 Q0 coffee 1 2 t\nq1 Q0 tea 2 1 t\nq2 Q0 coffee 1 1 t\nq3 Q0 cocoa 1 1 t\n",
    )
    .unwrap();
    for baseline in ["good.json", "good.trec"] {
        let worse =
            ["--dataset", "set", "--score", "hybrid", "--metrics", "mrr,recall@2", "--baseline", baseline];
        let (objects, code, errors) = outcome(&folder, &worse);
        assert_eq!((code, &objects[0]["hybrid"]["mrr"]), (Some(3), &json!(5.0 / 6.0)), "{errors}");
        let told = "hybrid mrr is 0.8333, 0.1667 below the baseline's 1.0000, allowed are 0.0050 (p = 1.000)";
        assert!(errors.contains(told) && !errors.contains("recall"), "{errors}");
        assert_eq!(outcome(&folder, &[&worse[..], &["--max-drop", "0.2"]].concat()).1, Some(0));
    }
    let (_, code, errors) =
        outcome(&folder, &["--dataset", "set", "--score", "hybrid", "--baseline", "set/corpus.jsonl"]);
    assert_eq!(code, Some(1), "{errors}");
}

#[test]
fn a_running_server_is_measured_and_asked_from_outside() {
    let folder = with_set();
    let server = Server::start(&folder);
    let url = server.url.clone();
    let key = server.key.clone();
    let target = ["--dataset", "set", "--server", &url, "--api-key", &key, "--collection", "measured"];
    let (_, code, errors) = outcome(&folder, &target);
    assert_eq!(code, Some(0), "nothing is found in an empty collection, which is a figure too: {errors}");
    let (objects, code, errors) = outcome(&folder, &[&target[..], &["--upload", "--answers"]].concat());
    assert_eq!(code, Some(0), "{errors}");
    let answers = &objects[0]["answers"];
    for (figure, value) in
        [("in_answer", 1.0), ("in_cited", 1.0), ("citation_precision", 1.0), ("refused_unanswerable", 1.0)]
    {
        assert_eq!(answers["answers"][figure]["mean"], value, "{figure}: {answers}");
    }
    assert_eq!(answers["abstention"][0]["auc"], 1.0, "{answers}");
    assert_eq!(objects[1]["hybrid"]["ndcg@10"], 1.0);
    drop(server);
    let (_, code, errors) = outcome(&folder, &target);
    assert!(code == Some(1) && errors.contains("check that it is running"), "{errors}");
}

#[test]
fn sweeps_try_every_combination_and_plans_may_be_named() {
    let folder = with_set();
    let swept = ["--dataset", "set", "--sweep", "weights=[1,1],[3,1]", "--sweep", "candidates=1,2"];
    let (objects, code, errors) = outcome(&folder, &swept);
    assert_eq!((code, objects[0].as_object().unwrap().len()), (Some(0), 4), "{errors}");
    assert_eq!(objects[0]["hybrid weights=[1,1] candidates=2"]["mrr"], 1.0);
    let named = r#"words={"lexical":{}}"#;
    let (objects, _, errors) =
        outcome(&folder, &["--dataset", "set", "--plan", named, "--run", "only.trec", "--depth", "1"]);
    assert_eq!(objects[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["words"], "{errors}");
    let ranking = fs::read_to_string(folder.path().join("only.trec")).unwrap();
    assert_eq!(ranking.lines().count(), 3, "one document a query: {ranking}");
    for (arguments, part) in [
        (["--plan", "words"], "write a plan as NAME=JSON"),
        (["--plan", "words={\"lexical\":{\"candidates\":0}}"], "candidates of a leg"),
        (["--sweep", "k"], "is no sweep"),
    ] {
        let (_, code, errors) = outcome(&folder, &[&["--dataset", "set"], &arguments[..]].concat());
        assert!(code == Some(2) && errors.contains(part), "{arguments:?}: {errors}");
    }
}

#[test]
fn topics_and_judgements_of_trec_score_the_rankings_of_other_tools() {
    let folder = Folder::new();
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    write(
        "topics",
        "<top>\n<num> Number: 1\n<title> tea\n</top>\n<top>\n<num> Number: 2\n<title> coffee\n</top>\n",
    );
    write("qrels", "1 0 a 2\n1 0 b 1\n2 0 c 1\n9 0 z 1\n");
    write("one.run", "1 Q0 b 1 3 x\n1 Q0 a 2 3 x\n2 Q0 d 1 1 x\n");
    let files = ["--queries", "topics", "--qrels", "qrels", "--score", "one.run", "--metrics", "mrr,ndcg@2"];
    let (objects, code, errors) = outcome(&folder, &files);
    assert_eq!(code, Some(0), "{errors}");
    // The tie goes to the greater id, so b comes first: (1 + 2 / log2 3) / (2 + 1 / log2 3), and nothing for the second.
    let log = 3_f64.log2();
    let expected = (1.0 + 2.0 / log) / (2.0 + 1.0 / log) / 2.0;
    assert!((objects[0]["one.run"]["ndcg@2"].as_f64().unwrap() - expected).abs() < 1e-12, "{objects:?}");
    assert_eq!(objects[0]["one.run"]["mrr"], 0.5);
    let (_, code, errors) = outcome(&folder, &["--queries", "topics"]);
    assert_eq!(code, Some(2), "{errors}");
    let (_, code, errors) = outcome(&folder, &["--queries", "topics", "--qrels", "qrels"]);
    assert!(code == Some(1) && errors.contains("there is nothing to search"), "{errors}");
}

#[test]
fn chunkers_are_measured_by_the_spans_they_let_find() {
    let folder = Folder::new();
    let corpora = folder.path().join("spans/corpora");
    fs::create_dir_all(&corpora).unwrap();
    let text =
        "Green tea is best at 80 degrees. ".to_owned() + &"Ships sail on the sea with the wind. ".repeat(80);
    fs::write(corpora.join("tea.md"), text).unwrap();
    let question = r#"{"id":"1","question":"how hot is green tea best?","corpus":"tea","references":[{"content":"","start_index":0,"end_index":32}]}"#;
    fs::write(folder.path().join("spans/questions.jsonl"), question).unwrap();
    let mut precisions = Vec::new();
    for chunker in ["structure", "parent-child", "sentence", "semantic"] {
        let (objects, code, errors) =
            outcome(&folder, &["--chunking", "spans", "--chunker", chunker, "--depth", "1"]);
        assert_eq!(code, Some(0), "{chunker}: {errors}");
        assert_eq!((&objects[0]["chunker"], &objects[0]["questions"]), (&json!(chunker), &json!(1)));
        assert_eq!(objects[0]["recall"]["mean"], 1.0, "{chunker}: {objects:?}");
        precisions.push(objects[0]["precision"]["mean"].as_f64().unwrap());
    }
    assert!(precisions[2] > 2.0 * precisions[0], "sentences have less around them: {precisions:?}");
    for wrong in
        [&["--chunker", "sentence", "--dataset", "x"][..], &["--chunking", "spans", "--dataset", "x"]]
    {
        assert_eq!(outcome(&folder, wrong).1, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_query_can_be_asked_in_its_conversation() {
    let folder = with_set();
    let set = folder.path().join("set");
    fs::write(set.join("queries.jsonl"), "{\"_id\": \"q1\", \"text\": \"how hot is it best?\"}\n").unwrap();
    fs::write(set.join("qrels.tsv"), "query-id\tcorpus-id\tscore\nq1\ttea\t1\n").unwrap();
    let turns = json!({"id": "q1", "turns": [
        {"role": "user", "text": "Do you know Green Tea?"},
        {"role": "assistant", "text": "Yes."},
        {"role": "user", "text": "how hot is it best?"},
    ]});
    fs::write(set.join("conversations.jsonl"), turns.to_string()).unwrap();
    let asked = ["--dataset", "set", "--conversations", "set/conversations.jsonl"];
    let (objects, code, errors) = outcome(&folder, &asked);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(objects[0]["hybrid"]["ndcg@10"], 1.0);

    fs::write(set.join("conversations.jsonl"), "{\"id\": 1}").unwrap();
    let (_, code, errors) = outcome(&folder, &asked);
    assert_ne!(code, Some(0));
    assert!(errors.contains("conversations.jsonl:1"), "{errors}");
}

#[test]
fn the_words_that_follow_ups_take_along_are_counted_without_a_data_set() {
    let folder = Folder::new();
    let dialog = json!({"id": "d", "title": "Ada Lovelace", "section": "Life", "turns": [{
        "n": 2, "history": ["Who was Ada Lovelace?", "A mathematician."],
        "question": "When was she born?", "rewrite": "When was Ada Lovelace born?",
    }]});
    fs::write(folder.path().join("dialogs.jsonl"), dialog.to_string()).unwrap();
    let (objects, code, errors) = outcome(&folder, &["--rewriting", "dialogs.jsonl"]);
    assert_eq!(code, Some(0), "{errors}");
    let first = &objects[0];
    assert_eq!(first["rewriting"], "all dialogs, history, as searched for");
    assert_eq!((&first["figures"]["wanted"], &first["figures"]["right"]), (&json!(2), &json!(2)));
    assert_eq!(first["rates"]["recall"], json!({"mean": 1.0, "low": 1.0, "high": 1.0}));
    assert_eq!(first["rewriter"], "history", "the hashing embedder cannot read conversations");

    let (_, code, errors) = outcome(&folder, &["--rewriting", "dialogs.jsonl", "--rewriter", "none"]);
    assert_ne!(code, Some(0));
    assert!(errors.contains("name another"), "{errors}");
}

#[test]
fn hits_can_be_ordered_anew_and_rewriters_that_ask_a_model_need_one() {
    let folder = with_set();
    let (_, code, errors) = outcome(&folder, &["--dataset", "set", "--rewriter", "hyde"]);
    assert_ne!(code, Some(0));
    assert!(errors.contains("chat model"), "{errors}");
    let (_, code, errors) = outcome(&folder, &["--dataset", "set", "--rerank", "absent"]);
    assert_ne!(code, Some(0));
    assert!(errors.contains("absent"), "{errors}");
}
