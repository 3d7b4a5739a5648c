//! Plans as JSON, and the limits they keep.

use super::*;

fn json(plan: &SearchPlan) -> String {
    serde_json::to_string(plan).expect("plans serialise")
}

#[test]
fn every_node_survives_json() {
    let all = SearchPlan::fuse(
        Fusion::Distribution,
        [
            SearchPlan::dense_exact().threshold(0.2),
            SearchPlan::matching(Matching::Fuzzy { edits: 2 }),
            SearchPlan::matching(Matching::Phrase).filter(Filter::eq("lang", "en")),
            SearchPlan::matching(Matching::Prefix),
            SearchPlan::custom("mine"),
        ],
    )
    .candidates(7)
    .rerank("closer look")
    .diversify(0.5)
    .expand(Expansion::Neighbours { before: 1, after: 2 })
    .expand(Expansion::Parent)
    .limit(3);
    assert_eq!(serde_json::from_str::<SearchPlan>(&json(&all)).expect("and come back"), all);
    assert!(all.validate().is_ok());
    assert!(all.needs_embedding());
    assert_eq!(all.fusion(), Some(Fusion::Distribution));
    assert!(all.any(|node| matches!(node, SearchPlan::Dense { candidates: 7, .. })));
}

#[test]
fn only_what_is_unusual_is_said_in_json() {
    assert_eq!(json(&SearchPlan::dense()), r#"{"dense":{"candidates":100}}"#);
    assert_eq!(json(&SearchPlan::dense_exact()), r#"{"dense":{"candidates":100,"exact":true}}"#);
    assert_eq!(json(&SearchPlan::lexical()), r#"{"lexical":{"candidates":100}}"#);
    assert_eq!(
        json(&SearchPlan::hybrid()),
        r#"{"fuse":{"method":"relative","weights":[0.85,0.15],"inputs":[{"dense":{"candidates":100}},{"lexical":{"candidates":100}}]}}"#
    );
}

#[test]
fn plans_out_of_bounds_are_refused() {
    for json in [
        r#"{"dense":{"candidates":0}}"#,
        r#"{"lexical":{"candidates":1000000}}"#,
        r#"{"lexical":{"matching":{"fuzzy":{"edits":3}}}}"#,
        r#"{"lexical":{"boosts":{"text":0,"context":0}}}"#,
        r#"{"lexical":{"boosts":{"text":-1}}}"#,
        r#"{"custom":{"name":""}}"#,
        r#"{"fuse":{"inputs":[]}}"#,
        r#"{"fuse":{"weights":[1],"inputs":[{"dense":{}},{"lexical":{}}]}}"#,
        r#"{"fuse":{"weights":[-1],"inputs":[{"dense":{}}]}}"#,
        r#"{"fuse":{"method":{"rrf":{"k":-1}},"inputs":[{"dense":{}}]}}"#,
        r#"{"rerank":{"reranker":"a","candidates":100000,"input":{"dense":{}}}}"#,
        r#"{"diversify":{"lambda":1.5,"input":{"dense":{}}}}"#,
        r#"{"expand":{"to":{"neighbours":{"before":1000}},"input":{"dense":{}}}}"#,
        r#"{"expand":{"to":{"neighbours":{"before":18446744073709551615,"after":1}},"input":{"dense":{}}}}"#,
        r#"{"limit":{"hits":0,"input":{"dense":{}}}}"#,
        r#"{"filter":{"filter":{"range":{"field":"a"}},"input":{"dense":{}}}}"#,
    ] {
        let plan: SearchPlan = serde_json::from_str(json).expect(json);
        assert!(plan.validate().unwrap_err().is_invalid_input(), "{json}");
    }
}

#[test]
fn plans_that_are_too_deep_or_too_large_are_refused() {
    let deep = (0..16).fold(SearchPlan::dense(), |plan, _| plan.limit(5));
    assert!(deep.validate().unwrap_err().to_string().contains("levels"));
    let wide = SearchPlan::fuse(Fusion::Relative, vec![SearchPlan::lexical(); 16]);
    let large = SearchPlan::fuse(Fusion::Relative, vec![wide; 4]);
    assert!(large.validate().unwrap_err().to_string().contains("nodes"));
}

#[test]
fn unknown_nodes_and_members_are_no_plan() {
    for json in
        [r#"{"denser":{}}"#, r#"{"dense":{"candidate":5}}"#, r#"{"fuse":{"method":"best","inputs":[]}}"#]
    {
        assert!(serde_json::from_str::<SearchPlan>(json).is_err(), "{json}");
    }
}
