//! The wrappers that search for something else than the words of the question.

use std::sync::Arc;

use agentkit_core::testing::{MemoryRetriever, OverlapReranker, ScriptedModel, ScriptedTurn, conformance};
use agentkit_core::{
    Conversation, Error, Hyde, Message, Metadata, ModelRewriter, MultiQuery, QueryRewriter, Reranker,
    RerankingRetriever, Result, Retriever, RewritingRetriever, RunContext, SearchPlan, SearchRequest,
    SearchResponse, TenantScope, WeightedQuery,
};
use async_trait::async_trait;

fn documents() -> Arc<MemoryRetriever> {
    let retriever = MemoryRetriever::new();
    for (id, text) in [
        ("tea", "Green tea is best at 80 degrees."),
        ("oil", "Change the oil of the engine once a year."),
        ("kettle", "A kettle boils water at 100 degrees."),
    ] {
        retriever.add_text(&TenantScope::local(), id, text, &Metadata::new()).unwrap();
    }
    Arc::new(retriever)
}

fn request(text: &str) -> SearchRequest {
    SearchRequest::new(TenantScope::local(), text)
}

fn follow_up(text: &str) -> SearchRequest {
    let before = vec![Message::user("Do you know green tea?"), Message::assistant("Yes, it is a drink.")];
    request(text).conversation(Conversation::new(before))
}

async fn search(rewriter: impl QueryRewriter + 'static, request: &SearchRequest) -> SearchResponse {
    let retriever = RewritingRetriever::new(documents(), Arc::new(rewriter));
    retriever.search(request, &RunContext::new()).await.unwrap()
}

/// Gives the queries it was made with.
struct Fixed(Vec<WeightedQuery>);

#[async_trait]
impl QueryRewriter for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    async fn rewrite(&self, _: &SearchRequest, _: &RunContext) -> Result<Vec<WeightedQuery>> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_model_makes_a_follow_up_stand_alone() {
    let model = Arc::new(ScriptedModel::saying("Question: How hot should green tea be?"));
    let found = search(ModelRewriter::new(model.clone()), &follow_up("How hot should it be?")).await;
    assert_eq!(found.hits[0].passage.document_id.as_str(), "tea");
    assert_eq!(found.queries, ["How hot should green tea be?", "How hot should it be?"]);
    let asked = &model.requests()[0];
    let shown = asked.messages[1].joined_text();
    assert_eq!(
        shown,
        "User: Do you know green tea?\nAssistant: Yes, it is a drink.\nQuestion: How hot should it be?"
    );
    assert_eq!(asked.temperature, Some(0.0));

    let model = Arc::new(ScriptedModel::saying("How hot should green tea be?"));
    let of_topic = Conversation::default().topics(["Green tea", "Brewing"]);
    search(ModelRewriter::new(model.clone()), &request("How hot should it be?").conversation(of_topic)).await;
    let shown = model.requests()[0].messages[1].joined_text();
    assert_eq!(shown, "About: Green tea, Brewing\nQuestion: How hot should it be?");
}

#[tokio::test]
async fn the_first_question_of_a_conversation_asks_no_model() {
    let model = Arc::new(ScriptedModel::new([]));
    let found = search(ModelRewriter::new(model.clone()), &request("green tea")).await;
    assert_eq!(found.queries, ["green tea"]);
    assert!(model.requests().is_empty());
}

#[tokio::test]
async fn a_model_that_repeats_the_question_adds_nothing() {
    let model = Arc::new(ScriptedModel::saying("green tea"));
    assert_eq!(search(ModelRewriter::new(model), &follow_up("green tea")).await.queries, ["green tea"]);
}

#[tokio::test]
async fn several_wordings_find_what_one_does_not() {
    let model =
        Arc::new(ScriptedModel::saying("1. lubricant of the motor\n2. change the oil\n\n- engine?\nmore"));
    let found = search(MultiQuery::new(model).wordings(3), &request("lubricant")).await;
    assert_eq!(found.queries, ["lubricant", "lubricant of the motor", "change the oil", "engine?"]);
    assert_eq!(found.hits[0].passage.document_id.as_str(), "oil");
}

#[tokio::test]
async fn a_made_up_answer_is_searched_for_by_meaning_only() {
    let model = Arc::new(ScriptedModel::saying("Tea is best at 80 degrees."));
    let rewritten = Hyde::new(model).rewrite(&request("how hot?"), &RunContext::new()).await.unwrap();
    let plans: Vec<_> = rewritten.iter().map(|query| query.plan.clone()).collect();
    assert_eq!(plans, [None, Some(SearchPlan::dense())]);
    let model = Arc::new(ScriptedModel::saying("Tea is best at 80 degrees."));
    let found = search(Hyde::new(model).weight(2.0), &request("degrees")).await;
    assert_eq!(found.hits[0].passage.document_id.as_str(), "tea");
}

#[tokio::test]
async fn a_score_is_the_sum_of_what_the_queries_contributed() {
    let queries = vec![WeightedQuery::new("tea degrees"), WeightedQuery::new("kettle").weight(0.5)];
    let found = search(Fixed(queries), &request("anything").top_k(2)).await;
    assert_eq!(found.hits.len(), 2);
    for hit in &found.hits {
        let sum: f32 = hit.explanation.queries.iter().map(|query| query.contribution).sum();
        assert!((sum - hit.score).abs() < 1e-6, "{hit:?}");
        for query in &hit.explanation.queries {
            let weight = if query.query == "kettle" { 0.5 } else { 1.0 };
            let rank = u16::try_from(query.rank).map(f32::from).unwrap();
            assert!((query.contribution - weight / (60.0 + rank)).abs() < 1e-6);
        }
    }
    assert!(found.hits[0].score >= found.hits[1].score);
}

#[tokio::test]
async fn fewer_hits_of_each_query_can_be_fused() {
    let queries = vec![WeightedQuery::new("tea degrees"), WeightedQuery::new("kettle degrees")];
    let retriever = RewritingRetriever::new(documents(), Arc::new(Fixed(queries)));
    let (one, ctx) = (request("anything").top_k(1), RunContext::new());
    let found = retriever.search(&one, &ctx).await.unwrap();
    assert_eq!(found.hits[0].explanation.queries.len(), 2, "each has it among its first hundred");
    let found = retriever.candidates(1).search(&one, &ctx).await.unwrap();
    assert_eq!((found.hits.len(), found.hits[0].explanation.queries.len()), (1, 1));
}

#[tokio::test]
async fn if_rewriting_fails_the_question_is_searched_for_as_it_was_asked() {
    let failing = || ScriptedModel::new([ScriptedTurn::refuse(Error::internal("out of order"))]);
    let silent = ScriptedModel::saying("  ");
    let huge = ScriptedModel::saying("tea ".repeat(20_000));
    for model in [failing(), silent, huge] {
        let found = search(ModelRewriter::new(Arc::new(model)), &follow_up("green tea")).await;
        assert_eq!(found.queries, ["green tea"]);
        assert_eq!(found.hits[0].passage.document_id.as_str(), "tea");
    }
    for odd in [vec![], vec![WeightedQuery::new("tea").weight(f32::NAN)], vec![WeightedQuery::new("tea"); 17]]
    {
        assert_eq!(search(Fixed(odd), &request("green tea")).await.queries, ["green tea"]);
    }
}

#[tokio::test]
async fn a_stopped_context_stops_the_search() {
    let ctx = RunContext::new();
    ctx.cancel();
    let model = Arc::new(ScriptedModel::saying("x"));
    let retriever = RewritingRetriever::new(documents(), Arc::new(ModelRewriter::new(model)));
    assert!(retriever.search(&follow_up("green tea"), &ctx).await.unwrap_err().is_stopped());
}

/// Searches for each question twice.
struct Twice;

#[async_trait]
impl QueryRewriter for Twice {
    fn name(&self) -> &'static str {
        "twice"
    }

    async fn rewrite(&self, request: &SearchRequest, _: &RunContext) -> Result<Vec<WeightedQuery>> {
        let own = WeightedQuery::new(request.text.as_str());
        Ok(vec![own.clone(), own.weight(0.5)])
    }
}

#[tokio::test]
async fn a_rewriting_retriever_keeps_the_contract_of_retrievers() {
    let inner = MemoryRetriever::new();
    conformance::ingest_fixture(&inner).unwrap();
    conformance::retriever(&RewritingRetriever::new(Arc::new(inner), Arc::new(Twice))).await;
}

#[tokio::test]
async fn the_best_hits_are_ordered_anew_and_the_rest_follows() {
    let retriever = RerankingRetriever::new(documents(), Arc::new(OverlapReranker::new())).candidates(2);
    let found = retriever.search(&request("boils water degrees"), &RunContext::new()).await.unwrap();
    assert_eq!(found.hits[0].passage.document_id.as_str(), "kettle");
    assert_eq!(found.hits.len(), 3);
    for pair in found.hits.windows(2) {
        assert!(pair[0].score > pair[1].score, "{found:?}");
    }
    assert!(found.hits.iter().all(|hit| hit.explanation.reranked == Some(hit.score)));
    let one = retriever.search(&request("boils water degrees").top_k(1), &RunContext::new()).await.unwrap();
    assert_eq!(one.hits, found.hits[..1]);
}

/// Gives one score, however many are asked for.
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

#[tokio::test]
async fn a_reranker_that_leaves_scores_out_is_an_error_that_names_it() {
    let retriever = RerankingRetriever::new(documents(), Arc::new(Short));
    let error = retriever.search(&request("tea"), &RunContext::new()).await.unwrap_err();
    assert!(error.message().contains("short"), "{error}");
}

#[tokio::test]
async fn a_reranking_retriever_keeps_the_contract_of_retrievers() {
    let inner = MemoryRetriever::new();
    conformance::ingest_fixture(&inner).unwrap();
    conformance::retriever(&RerankingRetriever::new(Arc::new(inner), Arc::new(OverlapReranker::new()))).await;
}
