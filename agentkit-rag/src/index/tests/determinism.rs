//! The same documents give the same answers, however and in whatever order they came in.

use agentkit_core::Fusion;

use super::*;

const WORDS: [&str; 12] =
    ["tea", "green", "water", "common", "leaf", "steam", "cup", "kettle", "brew", "hot", "cold", "leaves"];

/// Documents of a few words, many of them alike so that scores tie, and some of several chunks.
fn documents() -> Vec<SourceDocument> {
    let word = |n: usize| WORDS[n % WORDS.len()];
    let text = |n: usize| {
        let short = format!("{} {} {} common", word(n), word(n / 3), word(n * 7));
        if n.is_multiple_of(9) { [short.as_str(); 60].join("\n\n") } else { short }
    };
    (0..90)
        .map(|n| document(&format!("doc{n}"), &text(n), if n % 2 == 0 { "tea" } else { "coffee" }))
        .collect()
}

fn plans() -> [SearchPlan; 3] {
    let dense = || SearchPlan::Dense { candidates: 30, exact: true };
    let lexical = || SearchPlan::lexical().candidates(30);
    let hybrid = SearchPlan::fuse(Fusion::Rrf { k: 60.0 }, [dense(), lexical()]);
    [dense(), lexical(), hybrid]
}

/// Every hit of many searches as JSON, which keeps each bit of a score.
async fn answers(index: &Index) -> Vec<String> {
    let mut answers = Vec::new();
    for query in ["green tea", "common", "kettle cup steam", "cold brew leaf common water"] {
        for plan in plans() {
            for (top_k, topic) in [(3, None), (20, None), (20, Some("tea"))] {
                let mut request =
                    SearchRequest::new(TenantScope::local(), query).plan(plan.clone()).top_k(top_k);
                request.filter = topic.map(|topic| Filter::eq("topic", topic));
                let found = index.search(&request, &RunContext::new()).await.unwrap();
                assert!(!found.hits.is_empty());
                answers.extend(found.hits.iter().map(|hit| serde_json::to_string(hit).unwrap()));
            }
        }
    }
    answers
}

/// In order, all in one commit.
async fn at_once(disk: &Simulated) -> Index {
    let index = open(disk).await.unwrap();
    index.upsert(&TenantScope::local(), documents(), &RunContext::new()).await.unwrap();
    index
}

/// Backwards, a commit each, among others that are replaced and deleted again.
async fn piecemeal(disk: &Simulated) -> Index {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let index = open(disk).await.unwrap();
    for (n, document) in documents().into_iter().rev().enumerate() {
        let mut batch = vec![document];
        if n % 5 == 0 {
            batch.push(self::document(&format!("gone{n}"), "green tea that is common and goes", "tea"));
            batch.push(self::document(&format!("doc{}", n / 2), "an earlier text of hot water", "coffee"));
        }
        index.upsert(&scope, batch, &ctx).await.unwrap();
    }
    index.upsert(&scope, documents(), &ctx).await.unwrap();
    let gone: Vec<DocumentId> = (0..90).step_by(5).map(|n| id(&format!("gone{n}"))).collect();
    assert_eq!(index.delete(&scope, &gone, &ctx).await.unwrap(), 18);
    index
}

#[test]
fn answers_do_not_depend_on_the_order_of_writes_restarts_merges_or_threads() {
    run(async {
        let (first, second) = (Simulated::default(), Simulated::default());
        let expected = answers(&at_once(&first).await).await;
        let index = piecemeal(&second).await;
        assert_eq!(answers(&index).await, expected, "deleted records are still there");
        index.close().await.unwrap();
        let index = open(&second).await.unwrap();
        assert_eq!(answers(&index).await, expected, "after a restart");
        index.compact(&TenantScope::local(), &RunContext::new()).await.unwrap();
        assert_eq!(answers(&index).await, expected, "after merging all segments");
        let others: Vec<_> = (0..4)
            .map(|_| {
                let index = index.clone();
                tokio::spawn(async move { answers(&index).await })
            })
            .collect();
        for other in others {
            assert_eq!(other.await.unwrap(), expected, "while others search");
        }
    });
}
