//! Plans over a retriever in memory: what each node does, and that every score can be computed again.

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::retrieve::{Fusion, Metadata, Passage};
use crate::scope::TenantScope;
use crate::testing::{MemoryRetriever, OverlapReranker};

/// Finds everything a base finds, worst first, and does not say how.
struct Backwards(Arc<MemoryRetriever>);

#[async_trait]
impl Retriever for Backwards {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        let mut response = self.0.search(request, ctx).await?;
        response.hits.reverse();
        for (hit, score) in response.hits.iter_mut().rev().zip(1_u8..) {
            hit.score = f32::from(score);
            hit.explanation.derivation = None;
        }
        Ok(response)
    }
}

/// Searches for the last turn in place of the question.
struct LastTurn(Arc<dyn Retriever>);

#[async_trait]
impl Retriever for LastTurn {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        let last = request.conversation.messages.last().map(crate::Message::joined_text);
        let mut turned = request.clone();
        turned.text = last.unwrap_or_default();
        let mut response = self.0.search(&turned, ctx).await?;
        response.queries.push(turned.text);
        Ok(response)
    }
}

/// A reranker that breaks its contract.
struct Short;

#[async_trait]
impl Reranker for Short {
    fn name(&self) -> &'static str {
        "short"
    }

    async fn rerank(&self, _: &str, _: Vec<String>, _: &RunContext) -> Result<Vec<f32>> {
        Ok(vec![1.0])
    }
}

const TEXTS: [(&str, &str, &str); 6] = [
    ("a", "green tea wants water of eighty degrees", "drinks"),
    ("b", "green tea wants water of eighty degrees now", "drinks"),
    ("c", "black tea wants boiling water", "drinks"),
    ("d", "tea towels dry on a line", "house"),
    ("e", "coffee wants water of ninety degrees", "drinks"),
    ("f", "press that button to reset routers", "house"),
];

fn searcher() -> Searcher {
    let base = MemoryRetriever::new();
    for (id, text, topic) in TEXTS {
        base.add_text(&TenantScope::local(), id, text, &Metadata::new().with("topic", topic)).unwrap();
    }
    let base = Arc::new(base);
    Searcher::new(base.clone())
        .retriever("backwards", Arc::new(Backwards(base)))
        .reranker("overlap", Arc::new(OverlapReranker::new()))
        .reranker("short", Arc::new(Short))
}

async fn search(plan: SearchPlan) -> Result<SearchResponse> {
    let request = SearchRequest::new(TenantScope::local(), "how hot is water for green tea").plan(plan);
    searcher().search(&request, &RunContext::new()).await
}

async fn ids(plan: SearchPlan) -> String {
    let hits = search(plan).await.unwrap().hits;
    hits.iter().map(|hit| hit.passage.document_id.as_str()).collect::<Vec<_>>().join("")
}

#[tokio::test]
async fn nodes_do_what_they_say() {
    let base = ids(SearchPlan::lexical()).await;
    assert_eq!(base, "abcde");
    assert_eq!(ids(SearchPlan::lexical().limit(2)).await, "ab");
    assert_eq!(ids(SearchPlan::lexical().filter(Filter::eq("topic", "house"))).await, "d");
    assert_eq!(ids(SearchPlan::lexical().diversify(0.5).limit(2)).await, "ac", "b repeats a");
    assert_eq!(ids(SearchPlan::lexical().diversify(1.0)).await, base);
    assert_eq!(ids(SearchPlan::dense().rerank("overlap")).await, "abcdef");
    assert_eq!(ids(SearchPlan::lexical().rerank("overlap").threshold(0.3)).await, "ab");
    assert_eq!(ids(SearchPlan::custom("backwards").limit(1)).await.len(), 1);
    let both = SearchPlan::fuse(Fusion::MinMax, [SearchPlan::lexical(), SearchPlan::custom("backwards")]);
    assert_eq!(ids(both).await.len(), 6);
}

#[tokio::test]
async fn filters_are_inherited_by_everything_below() {
    let custom = SearchPlan::fuse(Fusion::default(), [SearchPlan::custom("backwards"), SearchPlan::dense()]);
    let drinks = custom.rerank("overlap").filter(Filter::eq("topic", "drinks"));
    assert_eq!(ids(drinks.clone()).await, "abce");
    assert_eq!(ids(drinks.filter(Filter::eq("topic", "house"))).await, "");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    for (plan, word) in [
        (SearchPlan::custom("other"), "other"),
        (SearchPlan::lexical().rerank("none"), "none"),
        (SearchPlan::lexical().rerank("short"), "short"),
        (SearchPlan::lexical().expand(Expansion::Parent), "widen"),
    ] {
        assert!(search(plan).await.unwrap_err().to_string().contains(word), "{word}");
    }
}

#[test]
fn a_passage_within_a_better_one_is_known() {
    let passage = |document: &str, start, end| Passage {
        chunk_id: crate::ChunkId::new(format!("{document}{start}")).unwrap(),
        document_id: document.try_into().unwrap(),
        title: None,
        text: String::new(),
        span: crate::Span::new(start, end),
        locator: crate::Locator::default(),
    };
    assert!(widen::holds(&passage("a", 0, 9), &passage("a", 2, 9)));
    assert!(!widen::holds(&passage("a", 0, 9), &passage("a", 2, 10)));
    assert!(!widen::holds(&passage("a", 0, 9), &passage("b", 2, 9)));
}

mod derivations {
    //! Any plan's scores can be computed again from what the hits say.

    use proptest::prelude::*;

    use super::*;

    fn leaves() -> impl Strategy<Value = SearchPlan> {
        prop_oneof![
            (1_usize..8).prop_map(|most| SearchPlan::dense().candidates(most)),
            (1_usize..8).prop_map(|most| SearchPlan::lexical().candidates(most)),
            (1_usize..8).prop_map(|most| SearchPlan::custom("backwards").candidates(most)),
        ]
    }

    fn fusions() -> impl Strategy<Value = Fusion> {
        prop_oneof![
            (0.0_f32..100.0).prop_map(|k| Fusion::Rrf { k }),
            Just(Fusion::Relative),
            Just(Fusion::MinMax),
            Just(Fusion::Distribution),
        ]
    }

    fn plans() -> impl Strategy<Value = SearchPlan> {
        leaves().prop_recursive(4, 12, 3, |inner| {
            let fused = (fusions(), prop::collection::vec((0.0_f32..3.0, inner.clone()), 1..4));
            let fused = fused.prop_map(|(method, inputs)| {
                let (weights, inputs) = inputs.into_iter().unzip();
                SearchPlan::Fuse { method, weights, inputs }
            });
            prop_oneof![
                fused,
                inner.clone().prop_map(|plan| plan.rerank("overlap")),
                (0.0_f32..=1.0, inner.clone()).prop_map(|(lambda, plan)| plan.diversify(lambda)),
                (-1.0_f32..1.0, inner.clone()).prop_map(|(score, plan)| plan.threshold(score)),
                (1_usize..6, inner).prop_map(|(most, plan)| plan.limit(most)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn give_every_score_again(plan in plans()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let hits = runtime.block_on(search(plan)).unwrap().hits;
            for hit in &hits {
                let json = serde_json::to_string(&hit.explanation).unwrap();
                let read: crate::Explanation = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(read.recomputed(), Some(hit.score));
            }
            for (a, b) in hits.iter().zip(hits.iter().skip(1)) {
                let ids = a.passage.chunk_id.cmp(&b.passage.chunk_id);
                let in_order = b.score.total_cmp(&a.score).then(ids).is_lt();
                prop_assert!(in_order, "{:?} before {:?}", a, b);
            }
        }
    }
}

#[tokio::test]
async fn the_conversation_goes_down_every_plan_and_what_was_searched_for_comes_back() {
    let base = MemoryRetriever::new();
    base.add_text(&TenantScope::local(), "a", TEXTS[0].1, &Metadata::new()).unwrap();
    let searcher = Searcher::new(Arc::new(LastTurn(Arc::new(base))));
    let before = crate::Conversation::new(vec![crate::Message::user("green tea")]);
    for plan in [
        SearchPlan::lexical(),
        SearchPlan::lexical().diversify(0.5),
        SearchPlan::fuse(
            Fusion::default(),
            [SearchPlan::lexical().diversify(0.5), SearchPlan::dense().limit(1)],
        ),
    ] {
        let request = SearchRequest::new(TenantScope::local(), "and black?").plan(plan);
        let found = searcher.search(&request.conversation(before.clone()), &RunContext::new()).await.unwrap();
        assert_eq!((found.hits.len(), found.queries), (1, vec!["green tea".to_owned()]));
    }
}
