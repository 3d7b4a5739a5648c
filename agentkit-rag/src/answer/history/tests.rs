//! Which words follow-ups take along, and which questions stay as they are.

use agentkit_core::{
    Conversation, Message, QueryRewriter, RunContext, SearchPlan, SearchRequest, TenantScope,
};

use super::*;

/// A conversation whose turns are the user's and the assistant's by turns.
fn before(turns: &[&str]) -> Conversation {
    let speak = |(at, text): (usize, &&str)| {
        if at % 2 == 0 { Message::user(*text) } else { Message::assistant(*text) }
    };
    Conversation::new(turns.iter().enumerate().map(speak).collect())
}

async fn queries(request: &SearchRequest) -> Vec<agentkit_core::WeightedQuery> {
    HistoryRewriter::new().rewrite(request, &RunContext::new()).await.expect("nothing can fail")
}

#[test]
fn follow_ups_take_along_what_the_conversation_is_about() {
    for (turns, question, expected) in [
        (&["Who was Josh Norman?", "A cornerback."][..], "How many balls did he intercept?", "Josh Norman"),
        (
            &["How do I install agentkit on Debian?", "With apt."],
            "And on Windows?",
            "install agentkit Debian",
        ),
        (&["Wer war Josh Norman?", "Ein Spieler."], "Wann wurde er geboren?", "Josh Norman"),
        (&["约什·诺曼是谁？", "球员。"], "他多大？", "诺曼"),
    ] {
        let added = HistoryRewriter::new().addition(question, &before(turns));
        assert!(added.contains(expected), "{question}: {added}");
    }
}

#[test]
fn topics_are_taken_along_without_their_brackets() {
    let before = before(&[]).topics(["Travis (band)", "Early years"]);
    let words = HistoryRewriter::new().words("When did they start playing?", &before);
    let first = words.first().expect("the topic is taken along");
    assert_eq!(first.text, "Travis");
    assert!(words.iter().all(|word| word.text != "band"));
}

#[tokio::test]
async fn without_a_conversation_the_question_stays_as_it_is() {
    let request = SearchRequest::new(TenantScope::local(), "And why is it so?");
    let queries = queries(&request).await;
    assert_eq!(queries, [agentkit_core::WeightedQuery::new("And why is it so?")]);
}

#[tokio::test]
async fn the_second_query_is_dense_where_the_plan_has_vectors() {
    let turns = before(&["Who was Josh Norman?", "A cornerback of the Panthers."]);
    let request = SearchRequest::new(TenantScope::local(), "Where was he born?").conversation(turns);
    let hybrid = queries(&request).await;
    assert_eq!(hybrid.len(), 2);
    assert_eq!(hybrid[0].text, request.text);
    assert!(hybrid[1].text.starts_with(&request.text), "{:?}", hybrid[1]);
    assert_eq!(hybrid[1].plan, Some(SearchPlan::dense()));
    assert_eq!(queries(&request.plan(SearchPlan::lexical())).await[1].plan, None);
}

#[test]
fn what_is_added_is_bounded_and_the_same_every_time() {
    let long = (0..20_000).map(|n| format!("Word{n}")).collect::<Vec<_>>().join(" ");
    let turns = vec![long.as_str(); 50];
    let rewriter = HistoryRewriter::new().least(0.0).most(5);
    let words = rewriter.words("why it?", &before(&turns));
    assert_eq!(words.len(), 5);
    assert_eq!(rewriter.words("why it?", &before(&turns)), words);
    assert!(words.windows(2).all(|pair| pair[0].probability >= pair[1].probability));
}

#[test]
fn odd_conversations_are_read_without_harm() {
    let only_answers = Conversation::new(vec![Message::assistant("Hello."), Message::assistant("Anyone?")]);
    for turns in [Conversation::default(), before(&["", ""]), before(&["🙂", "\0 ((( \""]), only_answers] {
        for question in ["", "?", "it", "🙂"] {
            let added = HistoryRewriter::new().addition(question, &turns);
            assert!(added.len() <= 32, "{question}: {added}");
        }
    }
}
