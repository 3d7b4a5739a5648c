//! The suite of the [`Retriever`] contract, and the documents it asks for.

mod fixture;

use std::collections::BTreeSet;

pub use self::fixture::{FixtureDocument, fixture_documents, fixture_scope, ingest_fixture};
use self::fixture::{collection_scope, document_of, other_scope, stranger_scope};
use super::{TOLERANCE, ends_when_cancelled, is_invalid, is_stopped, soon, stopped_contexts, succeeds};
use crate::context::RunContext;
use crate::retrieve::{
    Filter, Fusion, Hit, Leg, MAX_QUERY_BYTES, MAX_TOP_K, Range, Retriever, SearchPlan, SearchRequest,
    SearchResponse,
};
use crate::scope::TenantScope;

/// Holds `retriever` to its contract for dense, lexical and hybrid plans.
///
/// Before the call, every document of [`fixture_documents`] must have been put into the scope it names, and
/// nothing else into these scopes.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
pub async fn retriever(retriever: &dyn Retriever) {
    retriever_plans(
        retriever,
        &[SearchPlan::dense(), SearchPlan::lexical(), SearchPlan::hybrid(), SearchPlan::rrf()],
    )
    .await;
}

/// As [`retriever()`], for a retriever that offers only these plans; others are not tried.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
pub async fn retriever_plans(retriever: &dyn Retriever, plans: &[SearchPlan]) {
    for plan in plans {
        let suite = Suite { retriever, plan };
        suite.words_find_their_document().await;
        suite.top_k_is_respected().await;
        suite.ties_are_ordered_by_chunk_id().await;
        suite.filters_hold_and_are_applied_before_the_cut().await;
        suite.scopes_are_never_left().await;
        suite.no_character_is_syntax().await;
        suite.bad_requests_are_refused().await;
        suite.stopped_contexts_stop_it().await;
    }
}

const QUESTION: &str = "how do I reset the router?";

struct Suite<'r> {
    retriever: &'r dyn Retriever,
    plan: &'r SearchPlan,
}

impl Suite<'_> {
    async fn words_find_their_document(&self) {
        for (query, expected) in [
            ("reset router recessed button", "manual/router"),
            ("descale kettle vinegar", "manual/kettle"),
            ("Größe der Teekanne", "manual/teekanne"),
        ] {
            let found = self.search(self.ask(query)).await;
            let first = found.hits.first().map(|hit| hit.passage.document_id.as_str());
            let plan = self.plan;
            assert_eq!(first, Some(expected), "{query:?} does not find {expected:?} first by {plan:?}");
        }
    }

    async fn top_k_is_respected(&self) {
        let all = self.search(self.ask(QUESTION).top_k(MAX_TOP_K)).await;
        for top_k in [1, 2, 3] {
            let found = self.search(self.ask(QUESTION).top_k(top_k)).await;
            let got = found.hits.len();
            assert_eq!(got, top_k.min(all.hits.len()), "top_k {top_k} gave {got} hits");
        }
        let mut pages = Vec::new();
        for offset in (0..all.hits.len()).step_by(2) {
            let page = self.ask(QUESTION).top_k(2).offset(offset).at_generation(all.generation);
            pages.extend(self.search(page).await.hits);
        }
        let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.passage.chunk_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&pages), ids(&all.hits), "pages put together are not the whole");
        let again = self.search(self.ask(QUESTION).top_k(MAX_TOP_K)).await;
        assert_eq!(all, again, "the same question gave two answers");
    }

    async fn ties_are_ordered_by_chunk_id(&self) {
        let request = || self.ask("the twin lighthouses blink together");
        let found = self.search(request().top_k(2)).await;
        let twins: Vec<_> = found.hits.iter().map(|hit| hit.passage.document_id.as_str()).collect();
        let both = twins.iter().all(|twin| twin.starts_with("twin/")) && twins.len() == 2;
        assert!(both, "two documents with the words of the query are not found first, but {twins:?}");
        let best = self.search(request().top_k(1)).await;
        let same = best.hits.first().map(|hit| &hit.passage) == found.hits.first().map(|hit| &hit.passage);
        assert!(same, "which of two equal hits is the best depends on top_k");
    }

    async fn filters_hold_and_are_applied_before_the_cut(&self) {
        for filter in filters() {
            let request = || self.ask("reset the router or the kettle with vinegar").filter(filter.clone());
            let found = self.search(request()).await;
            for hit in &found.hits {
                assert!(
                    filter.matches(&hit.metadata),
                    "{:?} does not match {filter:?}",
                    hit.passage.chunk_id
                );
            }
            let documents = in_scope(&fixture_scope());
            let matching = documents.iter().filter(|document| filter.matches(&document.metadata));
            let expected = matching.count() as u64;
            let matches = found.matches;
            let right = if expected == 0 { matches == 0 } else { matches >= expected };
            assert!(right, "{expected} documents match {filter:?}, but {matches} chunks do");
        }
        let kettle = Filter::eq("kind", "appliance");
        let found = self.search(self.ask("reset the router, no vinegar").filter(kettle).top_k(1)).await;
        let first = found.hits.first().map(|hit| hit.passage.document_id.as_str());
        assert_eq!(first, Some("manual/kettle"), "the filter was applied after the best hit was taken");
    }

    async fn scopes_are_never_left(&self) {
        for (scope, query) in [
            (fixture_scope(), "the falcon code word is zanzibar"),
            (fixture_scope(), "quokkas are small marsupials"),
            (other_scope(), QUESTION),
            (collection_scope(), QUESTION),
            (stranger_scope(), QUESTION),
        ] {
            let found = self.search(self.ask_for(scope.clone(), query).top_k(MAX_TOP_K)).await;
            let empty = !in_scope(&scope).is_empty() || (found.hits.is_empty() && found.matches == 0);
            assert!(
                empty,
                "a scope without documents finds {} of {} chunks",
                found.hits.len(),
                found.matches
            );
        }
    }

    async fn no_character_is_syntax(&self) {
        for query in [
            "field:(",
            "\"",
            "\"unbalanced",
            ")(",
            "AND",
            "OR NOT",
            "* ~ ^ + - && || ! { } [ ] \\ / ?",
            "a:b:c",
            "the and of",
            "…",
            "🙂",
            "東京",
            "title:router^2~0.5",
            "-router",
            "%_';--",
        ] {
            self.search(self.ask(query)).await;
        }
        let found = self.search(self.ask("kettle:( \"descale AND NOT vinegar~ *")).await;
        let first = found.hits.first().map(|hit| hit.passage.document_id.as_str());
        assert_eq!(first, Some("manual/kettle"), "syntax characters around the words hide the document");
        self.search(self.ask("kettle ".repeat(MAX_QUERY_BYTES / 7))).await;
    }

    async fn bad_requests_are_refused(&self) {
        let empty_range = Filter::Range(Range { field: "year".into(), ..Range::default() });
        for (what, request) in [
            ("an empty query", self.ask("")),
            ("a blank query", self.ask(" \n\t")),
            ("a query with a NUL", self.ask("kettle\0vinegar")),
            ("a query that is too long", self.ask("x".repeat(MAX_QUERY_BYTES + 1))),
            ("top_k 0", self.ask(QUESTION).top_k(0)),
            ("a top_k that is too large", self.ask(QUESTION).top_k(MAX_TOP_K + 1)),
            ("a malformed filter", self.ask(QUESTION).filter(empty_range)),
            ("a malformed plan", self.ask(QUESTION).plan(SearchPlan::lexical().candidates(0))),
        ] {
            is_invalid(what, soon(what, self.retriever.search(&request, &RunContext::new())).await);
        }
    }

    async fn stopped_contexts_stop_it(&self) {
        let request = self.ask(QUESTION);
        for (why, ctx) in stopped_contexts() {
            let what = format!("searching under {why}");
            is_stopped(&what, soon(&what, self.retriever.search(&request, &ctx)).await);
        }
        let ctx = RunContext::new();
        ends_when_cancelled("searching", &ctx, self.retriever.search(&request, &ctx)).await;
    }

    fn ask(&self, query: impl Into<String>) -> SearchRequest {
        self.ask_for(fixture_scope(), query)
    }

    fn ask_for(&self, scope: TenantScope, query: impl Into<String>) -> SearchRequest {
        SearchRequest::new(scope, query).plan(self.plan.clone())
    }

    /// Searches and checks what is true of every answer.
    async fn search(&self, request: SearchRequest) -> SearchResponse {
        let what = format!("searching for {:?}", request.text.chars().take(40).collect::<String>());
        let found = soon(&what, self.retriever.search(&request, &RunContext::new())).await;
        let found = succeeds(&what, found);
        assert!(found.hits.len() <= request.top_k, "more than top_k {} hits", request.top_k);
        assert!(found.hits.len() as u64 <= found.matches, "more hits than the {} matches", found.matches);
        are_in_order(&found.hits);
        for hit in &found.hits {
            comes_from_the_scope(hit, &request.scope);
            explains_its_score(hit, self.plan);
        }
        found
    }
}

fn in_scope(scope: &TenantScope) -> Vec<FixtureDocument> {
    fixture_documents().into_iter().filter(|document| document.scope == *scope).collect()
}

fn filters() -> Vec<Filter> {
    let range =
        Range { field: "year".into(), gte: Some(2023.into()), lt: Some(2026.into()), ..Range::default() };
    let exists = Filter::Exists { field: "tags".into() };
    vec![
        Filter::eq("kind", "appliance"),
        Filter::eq("draft", true),
        Filter::eq("year", 2022),
        Filter::eq("year", "2022"),
        Filter::eq("tags", "hot"),
        Filter::eq("absent", 1),
        Filter::In { field: "lang".into(), values: vec!["de".into(), "ja".into()] },
        Filter::In { field: "lang".into(), values: Vec::new() },
        Filter::Range(range.clone()),
        Filter::Prefix { field: "kind".into(), value: "app".into() },
        exists.clone(),
        Filter::And(vec![Filter::eq("lang", "en"), Filter::Not(Box::new(exists.clone()))]),
        Filter::Or(vec![Filter::eq("lang", "de"), Filter::Range(range)]),
        Filter::And(Vec::new()),
        Filter::Or(Vec::new()),
        Filter::Not(Box::new(Filter::eq("lang", "en"))),
    ]
}

fn are_in_order(hits: &[Hit]) {
    let ids: BTreeSet<_> = hits.iter().map(|hit| &hit.passage.chunk_id).collect();
    assert_eq!(ids.len(), hits.len(), "a chunk is found twice");
    for (a, b) in hits.iter().zip(hits.iter().skip(1)) {
        assert!(a.score >= b.score, "hits are not best first: {} before {}", a.score, b.score);
        let ordered = a.score > b.score || a.passage.chunk_id < b.passage.chunk_id;
        let (a, b) = (&a.passage.chunk_id, &b.passage.chunk_id);
        assert!(ordered, "equal scores are not ordered by chunk id: {a} before {b}");
    }
}

fn comes_from_the_scope(hit: &Hit, scope: &TenantScope) {
    let (passage, id) = (&hit.passage, &hit.passage.document_id);
    let (tenant, collection) = (scope.tenant(), scope.collection());
    let document = document_of(scope, id);
    assert!(document.is_some(), "document {id} is found by tenant {tenant} in {collection}, but not theirs");
    let Some(document) = document else { return };
    let cut = passage.span.slice(&document.text);
    assert_eq!(cut, Some(passage.text.as_str()), "a hit's text is not the source text of {id} at its span");
    assert_eq!(hit.metadata, document.metadata, "a hit does not carry the metadata of {id}");
    assert_eq!(passage.title, document.title, "a hit does not carry the title of {id}");
}

fn explains_its_score(hit: &Hit, plan: &SearchPlan) {
    let (id, explanation) = (&hit.passage.chunk_id, &hit.explanation);
    assert!(!explanation.legs.is_empty(), "the hit {id} is not explained: no leg found it");
    for leg in &explanation.legs {
        assert!(leg.rank >= 1, "a rank of {id} is not counted from 1");
        assert!(leg.score.is_finite(), "a leg's score of {id} is not finite");
        assert!(
            leg_allowed(plan, leg.leg),
            "{id} was found by {:?}, which the plan does not ask for",
            leg.leg
        );
        if let Some(k) = rrf_over_legs(plan) {
            let (expected, given) = (1.0 / (k + rank(leg.rank)), leg.contribution);
            let same = (expected - given).abs() <= 1e-6;
            assert!(same, "rank {} of {id} contributes {given}, by rrf it is {expected}", leg.rank);
        }
    }
    let fused = plan.fusion().is_some();
    assert_eq!(explanation.fusion.is_some(), fused, "the explanation of {id} is wrong about fusion");
    let same = |value: f32| (value - hit.score).abs() <= TOLERANCE * hit.score.abs().max(1e-2);
    if explanation.reranked.is_none() {
        let of_legs = explanation.legs.iter().map(|leg| leg.contribution);
        let of_queries = explanation.queries.iter().map(|query| query.contribution);
        let sum: f32 = if explanation.queries.is_empty() { of_legs.sum() } else { of_queries.sum() };
        assert!(same(sum), "the score {} of {id} is not the sum {sum} of its contributions", hit.score);
    }
    if let Some(value) = explanation.recomputed() {
        assert!(same(value), "the score {} of {id} comes to {value} if computed again", hit.score);
    }
}

/// The constant of a reciprocal rank fusion whose inputs are legs, not fusions themselves.
fn rrf_over_legs(plan: &SearchPlan) -> Option<f32> {
    let SearchPlan::Fuse { method: Fusion::Rrf { k }, weights, inputs } = plan else { return None };
    let flat = inputs.iter().all(|input| !matches!(input, SearchPlan::Fuse { .. }));
    (flat && weights.is_empty()).then_some(*k)
}

fn leg_allowed(plan: &SearchPlan, leg: Leg) -> bool {
    match plan {
        SearchPlan::Dense { .. } => leg == Leg::Dense,
        SearchPlan::Lexical { .. } => leg == Leg::Lexical,
        SearchPlan::Custom { .. } => true,
        other => other.inputs().any(|input| leg_allowed(input, leg)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "ranks are at most 10,000")]
fn rank(rank: usize) -> f32 {
    rank as f32
}
