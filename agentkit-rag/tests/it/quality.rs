//! Retrieval quality on real data, measured as `agentkit-server eval` measures it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use agentkit_core::{Outcome, RunContext, TenantScope};
use agentkit_rag::answer::{ExtractiveModel, RagAgent};
use agentkit_rag::embed::{BertEmbedder, CachedEmbedder};
use agentkit_rag::eval::{Dataset, EvalOptions, Report, evaluate};
use agentkit_rag::{Index, SourceDocument};

/// An index of a data set that ships with the crate.
async fn indexed(set: &str) -> (tempfile::TempDir, Index, Dataset) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(set);
    let dataset = Dataset::load(folder).unwrap();
    let home = tempfile::tempdir().unwrap();
    let embedder = CachedEmbedder::new(Arc::new(BertEmbedder::minilm().await.unwrap()), 10_000);
    let index = Index::open(home.path(), Arc::new(embedder)).await.unwrap();
    let documents: Vec<SourceDocument> = dataset.documents().unwrap().map(Result::unwrap).collect();
    index.upsert(&TenantScope::local(), documents, &RunContext::new()).await.unwrap();
    (home, index, dataset)
}

async fn measured(set: &str) -> Report {
    let (_home, index, dataset) = indexed(set).await;
    let options = EvalOptions::new(TenantScope::local());
    let report = evaluate(&index, &dataset, &options, &RunContext::new()).await.unwrap();
    for run in report.runs() {
        eprintln!("{set} {}: {:?}", run.name, run.metrics);
    }
    report
}

fn mean(report: &Report, run: &str, metric: &str) -> f64 {
    report.run(run).expect("every leg is measured").mean(metric.parse().unwrap()).unwrap()
}

/// Each leg is at most 0.01 below the published figure of its method (tests/data/README.md).
fn at_least(report: &Report, which: &str, ndcg: f64, recall: f64) {
    for (metric, published) in [("ndcg@10", ndcg), ("recall@100", recall)] {
        let reached = mean(report, which, metric);
        assert!(reached >= published - 0.01, "{which} {metric} {reached} < {published}");
    }
}

#[tokio::test]
async fn xquad_is_found_nearly_always_and_fusion_does_not_hurt() {
    let report = measured("xquad-en").await;
    at_least(&report, "bm25", 0.969, 0.997);
    at_least(&report, "dense", 0.944, 1.0);
    let (recall, ndcg) = (mean(&report, "hybrid", "recall@10"), mean(&report, "hybrid", "ndcg@10"));
    assert!(recall >= 0.995, "recall@10 {recall}");
    assert!(ndcg >= 0.970, "nDCG@10 {ndcg}");
    for other in ["bm25", "dense"] {
        assert!(ndcg >= mean(&report, other, "ndcg@10"), "below {other}");
    }
}

#[tokio::test]
async fn on_technical_text_fusion_is_better_than_either_leg() {
    let report = measured("anthropic-docs").await;
    at_least(&report, "bm25", 0.701, 0.943);
    at_least(&report, "dense", 0.705, 0.967);
    let ndcg = mean(&report, "hybrid", "ndcg@10");
    assert!(ndcg >= 0.77, "nDCG@10 {ndcg}");
    for other in ["bm25", "dense"] {
        assert!(ndcg > mean(&report, other, "ndcg@10"), "not above {other}");
    }
}

#[tokio::test]
async fn every_citation_of_every_answer_is_cut_out_of_the_stored_source() {
    let (_home, index, dataset) = indexed("xquad-en").await;
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let agent = RagAgent::new(Arc::new(index.clone()), Arc::new(ExtractiveModel::new()));
    let mut sources: HashMap<String, String> = HashMap::new();
    let (mut answered, mut citations) = (0, 0);
    for query in dataset.queries().iter().step_by(5) {
        let reply = agent.ask(&scope, query.text.as_str()).await.unwrap();
        answered += usize::from(reply.outcome == Outcome::Answered);
        assert_eq!(reply.citations.is_empty(), reply.outcome == Outcome::Refused, "{:?}", query.text);
        for citation in reply.citations {
            if !sources.contains_key(citation.document_id.as_str()) {
                let stored = index.get(&scope, &citation.document_id, &ctx).await.unwrap().unwrap();
                sources.insert(stored.id.to_string(), stored.source_text);
            }
            let source = &sources[citation.document_id.as_str()];
            assert_eq!(citation.span.slice(source), Some(citation.quote.as_str()), "{:?}", query.text);
            assert!(reply.answer.contains(&format!("[{}]", citation.number)), "{:?}", query.text);
            citations += 1;
        }
    }
    eprintln!("{answered} answers with {citations} citations");
    assert!(answered > 150, "only {answered} of 238 questions were answered");
}
