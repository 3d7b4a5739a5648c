//! Reports of evaluations: tables and pictures that nothing in a name can break, gates, judged answers.

use agentkit_core::testing::MemoryRetriever;
use agentkit_core::{
    AgentReply, ChunkId, Citation, DocumentId, Locator, Metadata, Outcome, Passage, RunContext, SearchPlan,
    Source, Span, TenantScope,
};
use agentkit_rag::eval::{
    Abstention, AnswerReport, Gate, JudgedAnswer, Judgements, Metric, Question, Ranked, Report, Resampling,
    Run, RunReport, Scores, evaluate_abstention,
};

/// A run over ten queries that ranks the relevant document first in this many.
fn run(name: &str, right: usize) -> RunReport {
    let mut run = Run::default();
    let mut judgements = std::collections::BTreeMap::new();
    for query in 0..10 {
        judgements.insert(format!("q{query}"), Judgements::from([("good".to_owned(), 1)]));
        let order = if query < right { ["good", "bad"] } else { ["bad", "good"] };
        let documents = order.map(|document| Ranked { document: document.into(), score: 1.0 });
        run.insert_in_order(format!("q{query}"), documents);
    }
    let times = [3, 5, 8].map(std::time::Duration::from_millis);
    RunReport::new(name, Scores::of(&run, &judgements, &Metric::usual())).latencies(times)
}

fn report(runs: impl IntoIterator<Item = RunReport>) -> Report {
    let mut report = Report::new(Resampling::default());
    for run in runs {
        report.add(run).unwrap();
    }
    report
}

#[test]
fn a_table_has_means_intervals_times_and_differences_to_the_best() {
    let text = report([run("ours", 9), run("a|b\n", 4)]).to_markdown();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("10 queries; 95 % intervals"), "{text}");
    assert!(lines[2].starts_with("| run | ndcg@10 | recall@10 |"), "{text}");
    assert!(lines[4].starts_with("| ours | 0.9631 [") && lines[4].ends_with("] | 5.0 | 7.7 |"), "{text}");
    assert!(lines[5].starts_with("| a\\|b  |"), "{text}");
    let difference = lines.last().unwrap();
    // Five of ten pairs differ, all in one direction: 2 of 32 ways.
    assert!(
        difference.starts_with("| a\\|b  | -0.1845 [") && difference.ends_with("| 0.0625 | 0 | 5 |"),
        "{text}"
    );
}

#[test]
fn a_picture_shows_every_run_and_no_name_breaks_it() {
    let picture = report([run("ours", 9), run("<script>&\u{7}\"'", 4), run(&"long".repeat(50), 0)]).to_svg();
    assert_eq!(picture.matches("class=\"bar\"").count(), 3);
    assert_eq!(picture.matches("class=\"point\"").count(), 3);
    assert!(picture.contains("&lt;script&gt;&amp;\"'</text>") && !picture.contains("<script"), "{picture}");
    assert!(
        picture.contains("longlonglonglonglonglonglonglong…</text>") && picture.contains(">0.9631</text>")
    );
    assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    let empty = Report::default().to_svg();
    assert!(empty.starts_with("<svg ") && empty.ends_with("</svg>\n"));
}

#[test]
fn a_gate_names_what_fell_below_the_baseline_and_forgives_what_rounding_does() {
    let before = report([run("hybrid", 9), run("dense", 5)]);
    let now = report([run("hybrid", 8), run("dense", 5)]);
    let gate = Gate::new("hybrid").baseline(before.clone());
    let misses = gate.check(&now).unwrap();
    let named: Vec<String> = misses.iter().map(|miss| format!("{} {}", miss.run, miss.metric)).collect();
    assert_eq!(named, ["hybrid ndcg@10", "hybrid mrr", "hybrid map"]);
    assert!(
        misses[1].to_string().contains("mrr is 0.9000, 0.0500 below the baseline's 0.9500"),
        "{}",
        misses[1]
    );
    assert_eq!(gate.clone().max_drop(0.06).check(&now).unwrap(), []);
    assert_eq!(gate.check(&before).unwrap(), []);
    assert_eq!(Gate::new("dense").minimum("mrr=0.75".parse().unwrap()).check(&now).unwrap(), []);

    let other = Gate::new("hybrid").baseline(report([run("else", 1)]));
    assert!(other.check(&now).unwrap_err().is_invalid_input());
    assert!(gate.max_drop(f64::NAN).check(&now).unwrap_err().is_invalid_input());
    let missing = Gate::new("hybrid").minimum("none:mrr=1".parse().unwrap()).check(&now).unwrap_err();
    assert!(missing.message().contains("there are hybrid, dense"), "{missing}");
    assert!(report([run("x", 1)]).add(run("x", 2)).unwrap_err().is_invalid_input());
}

fn source(number: usize, document: &str, text: &str) -> Source {
    let passage = Passage {
        chunk_id: ChunkId::new(format!("{document}#{number}")).unwrap(),
        document_id: DocumentId::new(document).unwrap(),
        title: None,
        text: text.into(),
        span: Span::new(0, text.len()),
        locator: Locator::default(),
    };
    Source { number, passage, score: 1.0 }
}

fn citation(source: &Source) -> Citation {
    let Passage { chunk_id, document_id, text, span, locator, .. } = source.passage.clone();
    Citation { number: source.number, document_id, chunk_id, title: None, quote: text, span, locator }
}

fn reply(answer: &str, sources: &[Source], cited: &[usize], outcome: Outcome) -> AgentReply {
    let mut reply = AgentReply::default();
    reply.answer = answer.into();
    reply.sources = sources.to_vec();
    reply.citations = cited.iter().map(|number| citation(&sources[number - 1])).collect();
    reply.outcome = outcome;
    reply
}

#[test]
fn answers_are_judged_by_what_they_hold_what_they_cite_and_whether_they_are_refused() {
    let sources = [source(1, "tea", "Green tea: 80 degrees."), source(2, "oil", "Once a year.")];
    let asked = Question::new("q1", "how hot?").answers(["eighty", "80 degrees"]).context_id("tea");
    let judge = |answer: &str, cited: &[usize], outcome| {
        JudgedAnswer::new(&asked, &reply(answer, &sources, cited, outcome))
    };
    let right = judge("At 80 degrees. [1] [2]", &[1, 2], Outcome::Answered);
    assert_eq!((right.in_answer, right.in_cited, right.right_citations), (Some(true), Some(true), Some(1)));
    let wrong = judge("Once a year. [2]", &[2], Outcome::Answered);
    assert_eq!((wrong.in_answer, wrong.in_cited, wrong.right_citations), (Some(false), Some(false), Some(0)));
    let late = judge(&format!("{} 80 degrees", "x".repeat(600)), &[1], Outcome::Answered);
    assert_eq!((late.in_answer, late.in_cited), (Some(false), Some(true)));
    let refused = judge("The sources do not say: 80 degrees", &[], Outcome::Refused);
    assert_eq!((refused.in_answer, refused.in_cited), (Some(false), Some(false)));

    let unanswerable = Question::new("q2", "who?").context_id("tea").unanswerable();
    let other = JudgedAnswer::new(&unanswerable, &reply("no", &[], &[], Outcome::Refused));
    assert_eq!((other.in_answer, other.right_citations), (None, None));
    let report = AnswerReport { answers: vec![right, wrong, late, refused, other] };
    let figures = report.figures(&Resampling::default());
    let means: Vec<_> = figures.iter().map(|(name, value)| (name, value.mean)).collect();
    let expected = [
        ("in_answer", 0.25),
        ("in_cited", 0.5),
        ("citation_precision", 0.5),
        ("citation_recall", 2.0 / 3.0),
        ("refused_unanswerable", 1.0),
        ("refused_answerable", 0.25),
    ];
    assert_eq!(means, expected);
    assert_eq!(report.abstention().auc(), Some((0.75 * 1.0) + (0.25 * 0.5)));
    assert_eq!(AnswerReport::default().figures(&Resampling::default()).iter().count(), 0);
}

#[test]
fn abstention_counts_ties_half_and_what_is_no_number_as_lowest() {
    let tied = Abstention::new([(true, 0.5), (true, f64::NAN), (false, 0.5), (false, 0.1)]);
    // 0.5 wins against 0.1 and half against 0.5; the other answerable one loses both.
    assert_eq!(tied.auc(), Some(1.5 / 4.0));
    assert_eq!(tied.threshold(0.5).to_bits(), 0.5_f64.to_bits());
    assert_eq!(Abstention::new([(true, 1.0)]).auc(), None);
    let nothing = Abstention::default().at(0.5);
    assert_eq!((nothing.refused_answerable, nothing.refused_unanswerable), (0.0, 0.0));
}

#[tokio::test]
async fn a_retriever_is_asked_how_sure_it_is() {
    let (scope, retriever) = (TenantScope::local(), MemoryRetriever::new());
    retriever.add_text(&scope, "tea", "green tea is best at 80 degrees", &Metadata::default()).unwrap();
    let questions =
        [Question::new("q1", "green tea degrees"), Question::new("q2", "purple car engine").unanswerable()];
    let plan = SearchPlan::lexical();
    let scores =
        evaluate_abstention(&retriever, &questions, &scope, &plan, &RunContext::new()).await.unwrap();
    assert_eq!(scores.auc(), Some(1.0));
    assert_eq!(scores.threshold(0.0).to_bits(), 1.0_f64.to_bits(), "the overlap of words is whole");
}
