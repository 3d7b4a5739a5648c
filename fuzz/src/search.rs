//! Filters and queries of any shape against a small index, whose right answers a plain loop knows.

use std::sync::{Arc, LazyLock};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{Filter, Metadata, Retriever, RunContext, SearchPlan, SearchRequest, TenantScope};
use agentkit_rag::{Index, SourceDocument};

use crate::run;

static DOCUMENTS: LazyLock<Vec<SourceDocument>> = LazyLock::new(|| {
    let document = |n: i32| {
        let number = f64::from(n);
        let mut metadata =
            Metadata::new().with("n", number).with("even", n % 2 == 0).with("half", number / 2.0);
        if n % 3 == 0 {
            metadata = metadata.with("word", format!("w{n}"));
        }
        let text = format!("common words {n} and some other number{}", n % 4);
        SourceDocument::text(format!("d{n}"), text).expect("a valid id").with_metadata(metadata)
    };
    (-4..12).map(document).collect()
});

static INDEX: LazyLock<(tempfile::TempDir, Index)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let opened: agentkit_core::Result<Index> = run(async {
        let index = Index::open(folder.path(), Arc::new(HashingEmbedder::with_dimension(16))).await?;
        index.upsert(&TenantScope::local(), DOCUMENTS.clone(), &RunContext::new()).await?;
        Ok(index)
    });
    (folder, opened.expect("an index"))
});

/// JSON of a filter: what it finds is what its reference meaning says.
pub fn filter(data: &[u8]) {
    let Ok(filter) = serde_json::from_slice::<Filter>(data) else { return };
    let json = serde_json::to_vec(&filter).expect("a filter is JSON");
    assert_eq!(serde_json::from_slice::<Filter>(&json).expect("and back"), filter);
    if filter.validate().is_err() {
        return;
    }
    let request = SearchRequest::new(TenantScope::local(), "common")
        .plan(SearchPlan::dense_exact())
        .top_k(DOCUMENTS.len())
        .filter(filter.clone());
    let found = run(INDEX.1.search(&request, &RunContext::new())).expect("a valid filter");
    let mut found: Vec<String> = found.hits.iter().map(|hit| hit.passage.document_id.to_string()).collect();
    found.sort();
    let matching = DOCUMENTS.iter().filter(|document| filter.matches(&document.metadata));
    let mut expected: Vec<String> = matching.map(|document| document.id.to_string()).collect();
    expected.sort();
    assert_eq!(found, expected, "{filter:?}");
}

/// How many results, the JSON of a plan, a NUL, and the text of a query.
pub fn query(data: &[u8]) {
    let Some((top_k, data)) = data.split_first() else { return };
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (plan, text) = data.split_at(at);
    let plan = serde_json::from_slice(plan).unwrap_or_else(|_| SearchPlan::default());
    let text = String::from_utf8_lossy(text.get(1..).unwrap_or_default());
    let request = SearchRequest::new(TenantScope::local(), text.trim_start_matches('\0'))
        .plan(plan)
        .top_k((*top_k).into());
    let Ok(found) = run(INDEX.1.search(&request, &RunContext::new())) else { return };
    assert!(found.hits.len() <= usize::from(*top_k), "more than were asked for");
    assert!(found.hits.is_sorted_by(|a, b| a.score >= b.score), "best first");
    let mut chunks: Vec<_> = found.hits.iter().map(|hit| &hit.passage.chunk_id).collect();
    chunks.sort();
    chunks.dedup();
    assert_eq!(chunks.len(), found.hits.len(), "no chunk twice");
    for hit in &found.hits {
        assert!(hit.score.is_finite());
        let source = DOCUMENTS.iter().find(|document| document.id == hit.passage.document_id);
        let text = source.and_then(|source| hit.passage.span.slice(&source.source_text));
        assert_eq!(text, Some(hit.passage.text.as_str()), "a hit quotes its source");
    }
}
