//! What core writes fits the schemas that describe it, member by member.

use agentkit_core::{
    AgentEventKind, AgentReply, Boosts, ChunkId, Citation, Deferral, DeferredCall, Derivation, DocumentId,
    ErrorKind, Expansion, Explanation, Filter, FusedPart, Fusion, Hit, Leg, LegExplanation, Locator, Mark,
    Matching, Metadata, Outcome, Passage, Range, RunId, Scale, SearchPlan, SearchResponse, SessionId, Source,
    Span, ToolCall, ToolResult, Usage,
};
use agentkit_rag::Heading;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

fn fits<T: DeserializeOwned>(value: &impl Serialize) {
    let json = serde_json::to_string(value).unwrap();
    if let Err(error) = serde_json::from_str::<T>(&json) {
        panic!("{json} does not fit: {error}");
    }
}

fn locator() -> Locator {
    let mut locator = Locator::default();
    locator.heading_path = vec!["A".into()];
    locator.bytes = Some(Span::new(1, 2));
    locator.page = Some(1);
    locator.row = Some(2);
    locator.marks = vec![Mark::page(1, 2), Mark::row(2, 3)];
    locator
}

fn passage() -> Passage {
    Passage {
        chunk_id: ChunkId::new("d#1").unwrap(),
        document_id: DocumentId::new("d").unwrap(),
        title: Some("T".into()),
        text: "x".into(),
        span: Span::new(0, 1),
        locator: locator(),
    }
}

fn citation() -> Citation {
    let Passage { chunk_id, document_id, title, text: quote, span, locator } = passage();
    Citation { number: 1, document_id, chunk_id, title, quote, span, locator }
}

fn deferred() -> (RunId, Vec<DeferredCall>) {
    let call = ToolCall { id: "1".into(), name: "n".into(), arguments: serde_json::json!({"a": 1}) };
    let waits = [Deferral::Approval, Deferral::Result].map(|wait| DeferredCall::new(call.clone(), wait));
    (RunId::new("r").unwrap(), waits.to_vec())
}

#[test]
fn every_event_fits() {
    let (run_id, calls) = deferred();
    let source = Source { number: 1, passage: passage(), score: 0.5 };
    let session_id = Some(SessionId::new("s").unwrap());
    for event in [
        AgentEventKind::Started { trace_id: "t".into(), session_id },
        AgentEventKind::Retrieved { query: "q".into(), sources: vec![source] },
        AgentEventKind::Delta { text: "x".into() },
        AgentEventKind::Citation(citation()),
        AgentEventKind::ToolCalled(ToolCall {
            id: "1".into(),
            name: "n".into(),
            arguments: serde_json::json!({}),
        }),
        AgentEventKind::ToolReturned(ToolResult {
            call_id: "1".into(),
            content: "c".into(),
            is_error: false,
        }),
        AgentEventKind::Deferred { run_id, calls },
        AgentEventKind::Usage(Usage { input_tokens: 1, output_tokens: 2 }),
        AgentEventKind::Done { outcome: Outcome::Waiting },
        AgentEventKind::Done { outcome: Outcome::Truncated },
        AgentEventKind::Error { kind: ErrorKind::Internal, message: "m".into() },
    ] {
        fits::<AgentEventKindSchema>(&event);
    }
}

#[test]
fn replies_and_hits_fit() {
    let mut reply = AgentReply::default();
    reply.citations = vec![citation()];
    reply.sources = vec![Source { number: 1, passage: passage(), score: 0.5 }];
    reply.session_id = Some(SessionId::new("s").unwrap());
    let (run_id, deferred) = deferred();
    (reply.outcome, reply.run_id, reply.deferred) = (Outcome::Waiting, Some(run_id), deferred);
    fits::<AgentReplySchema>(&reply);
    fits::<AgentReplySchema>(&AgentReply::default());

    let leg = |leg| LegExplanation { leg, rank: 1, score: 0.5, contribution: 0.1 };
    let mut explanation = Explanation::new(vec![leg(Leg::Dense), leg(Leg::Lexical)], Some(Fusion::default()));
    explanation.reranked = Some(1.0);
    let scale = Some(Scale { zero: -1.0, span: 2.0 });
    let part = |input, from| FusedPart { input, rank: 1, weight: 0.5, scale, from };
    let parts = vec![
        part(0, Derivation::Found { leg: Leg::Dense, rank: 1, score: 0.5 }),
        part(1, Derivation::Given { by: "mine".into(), rank: 1, score: 0.5 }),
    ];
    let fused = Derivation::Fused { method: Fusion::Relative, parts };
    let from = Box::new(Derivation::Reranked { reranker: "r".into(), score: 1.0, from: Box::new(fused) });
    let scale = Scale { zero: 0.0, span: 1.0 };
    explanation.derivation = Some(Derivation::Diversified { lambda: 0.5, scale, likeness: 0.0, from });
    let hit = Hit { passage: passage(), score: 1.0, metadata: Metadata::new().with("a", 1), explanation };
    fits::<SearchResponseSchema>(&SearchResponse::new(vec![hit], 1, 1));
}

#[test]
fn what_a_client_sends_fits() {
    let range = Range { field: "f".into(), gt: Some(1.into()), gte: None, lt: Some("x".into()), lte: None };
    for filter in [
        Filter::eq("f", 1),
        Filter::In { field: "f".into(), values: vec![true.into()] },
        Filter::Range(range),
        Filter::Prefix { field: "f".into(), value: "x".into() },
        Filter::Exists { field: "f".into() },
        Filter::And(vec![Filter::eq("f", 1)]),
        Filter::Or(vec![]),
        Filter::Not(Box::new(Filter::eq("f", 1))),
    ] {
        fits::<FilterSchema>(&filter);
    }
    let legs = [
        SearchPlan::dense_exact(),
        SearchPlan::matching(Matching::Phrase),
        SearchPlan::matching(Matching::Prefix),
        SearchPlan::matching(Matching::Fuzzy { edits: 2 }),
        SearchPlan::Lexical {
            candidates: 5,
            matching: Matching::Terms,
            boosts: Boosts { text: 1.0, context: 2.0 },
        },
        SearchPlan::custom("mine"),
    ];
    for method in [Fusion::default(), Fusion::Relative, Fusion::MinMax, Fusion::Distribution] {
        let plan =
            SearchPlan::fuse(method, legs.clone()).filter(Filter::eq("f", 1)).rerank("r").diversify(0.5);
        fits::<PlanSchema>(&plan.expand(Expansion::Parent).threshold(0.5).limit(5));
    }
    let wide = Expansion::Neighbours { before: 1, after: 1 };
    fits::<PlanSchema>(&SearchPlan::hybrid().expand(wide));
    fits::<HeadingSchema>(&Heading { offset: 0, level: 1, title: "T".into() });
}
