//! Follow-ups resolved by the embedding model that reads their conversation.

use agentkit_core::{
    Conversation, Message, QueryRewriter, RunContext, SearchPlan, SearchRequest, TenantScope, WeightedQuery,
};
use agentkit_rag::answer::{HistoryRewriter, QueryResolver};
use agentkit_rag::embed::BertEmbedder;

async fn resolver() -> QueryResolver {
    QueryResolver::new(&BertEmbedder::minilm().await.unwrap()).await.unwrap()
}

/// A conversation whose turns are the user's and the assistant's by turns.
fn before(turns: &[&str]) -> Conversation {
    let speak = |(at, text): (usize, &&str)| {
        if at % 2 == 0 { Message::user(*text) } else { Message::assistant(*text) }
    };
    Conversation::new(turns.iter().enumerate().map(speak).collect())
}

async fn words(resolver: &QueryResolver, question: &str, before: &Conversation) -> Vec<String> {
    let words = resolver.words(question, before, &RunContext::new()).await.unwrap();
    assert!(words.windows(2).all(|pair| pair[0].probability >= pair[1].probability));
    words.into_iter().map(|word| word.text).collect()
}

#[tokio::test]
async fn what_a_pronoun_stands_for_is_told_from_what_else_was_said() {
    let resolver = resolver().await;
    let turns = ["Who was Josh Norman?", "A cornerback of the Panthers, born in Greenwood."];
    let found = words(&resolver, "How many balls did he intercept?", &before(&turns)).await;
    assert_eq!(found[..2], ["Norman", "Josh"]);
    assert!(!found.iter().any(|word| word == "Greenwood"), "{found:?}");
    let travis = before(&[]).topics(["Travis (band)", "Early years"]);
    assert_eq!(words(&resolver, "When did they start playing?", &travis).await[0], "Travis");
}

#[tokio::test]
async fn languages_it_has_not_learnt_are_left_to_the_signs() {
    let resolver = resolver().await;
    for (turns, question) in [
        (["Wer war Josh Norman?", "Ein Spieler."], "Wann wurde er geboren?"),
        (["约什·诺曼是谁？", "球员。"], "他多大？"),
    ] {
        let before = before(&turns);
        let signs = HistoryRewriter::new().words(question, &before);
        let expected: Vec<String> = signs.into_iter().map(|word| word.text).collect();
        assert_eq!(words(&resolver, question, &before).await, expected);
    }
}

#[tokio::test]
async fn it_is_searched_for_as_by_the_signs() {
    let resolver = resolver().await;
    let ask = async |conversation: Conversation, plan: SearchPlan| {
        let request = SearchRequest::new(TenantScope::local(), "Where was he born?").plan(plan);
        resolver.rewrite(&request.conversation(conversation), &RunContext::new()).await.unwrap()
    };
    let own = WeightedQuery::new("Where was he born?");
    let turns = before(&["Who was Josh Norman?", "A cornerback of the Panthers."]);
    let second = WeightedQuery::new("Where was he born? Josh Norman");
    let hybrid = ask(turns.clone(), SearchPlan::hybrid()).await;
    assert_eq!(hybrid, [own.clone(), second.clone().plan(SearchPlan::dense())]);
    assert_eq!(ask(turns, SearchPlan::lexical()).await, [own.clone(), second]);
    assert_eq!(ask(Conversation::default(), SearchPlan::hybrid()).await, [own]);
}

#[tokio::test]
async fn odd_and_endless_conversations_are_read_without_harm() {
    let resolver = resolver().await.least(0.0).most(5);
    let long = (0..20_000).map(|n| format!("Word{n}")).collect::<Vec<_>>().join(" ");
    let endless = vec![long.as_str(); 50];
    for turns in [&endless[..], &["", ""], &["🙂", "\0 ((( \""], &["Ünïcödé Ärger’s end", "ﬁn"]] {
        for question in ["", "?", "it", "why it?", "🙂", &long] {
            assert!(words(&resolver, question, &before(turns)).await.len() <= 5);
        }
    }
}

#[tokio::test]
async fn a_stopped_run_reads_nothing() {
    let ctx = RunContext::new();
    ctx.cancel();
    let turns = before(&["Who was Josh Norman?", "A cornerback."]);
    let refused = resolver().await.words("Where was he born?", &turns, &ctx).await.unwrap_err();
    assert_eq!(refused.kind(), agentkit_core::ErrorKind::Cancelled, "{refused}");
}
