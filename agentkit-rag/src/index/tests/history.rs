//! Random histories against a plain map: after each step both legs, counts and filters agree with it.

use proptest::prelude::*;

use super::super::storage::simulated::End;
use super::*;

/// Set to a number of minutes: histories are tried for that long instead of a fixed number of them.
const MINUTES: &str = "AGENTKIT_HISTORY_MINUTES";

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<(u8, u8, bool)>),
    Delete(Vec<u8>),
    DeleteTopic(bool),
    Compact,
    Reopen,
    Crash(End),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = prop::collection::vec((0..8_u8, any::<u8>(), any::<bool>()), 1..4).prop_map(Step::Put);
    let delete = prop::collection::vec(0..8_u8, 1..3).prop_map(Step::Delete);
    let end = prop_oneof![Just(End::Killed), Just(End::PowerLoss), Just(End::TornPowerLoss)];
    let step = prop_oneof![
        6 => put,
        2 => delete,
        1 => any::<bool>().prop_map(Step::DeleteTopic),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        1 => end.prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..16)
}

fn topic(tea: bool) -> &'static str {
    if tea { "tea" } else { "coffee" }
}

/// Documents of very different lengths, some of one chunk and some of several that partly stay the same.
fn document_of((name, content, tea): (u8, u8, bool)) -> SourceDocument {
    let paragraphs =
        (0..content % 5).map(|n| format!("common paragraph {n} {}", "with more common words. ".repeat(30)));
    let text = format!("common content{content}\n\n{}", paragraphs.collect::<Vec<_>>().join("\n\n"));
    document(&format!("doc{name}"), &text, topic(tea))
}

async fn replay(steps: Vec<Step>) {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let mut disk = Simulated::default();
    let mut index = open(&disk).await.unwrap();
    let mut model: BTreeMap<String, SourceDocument> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Put(documents) => {
                let documents: Vec<SourceDocument> = documents.into_iter().map(document_of).collect();
                model.extend(documents.iter().map(|document| (document.id.to_string(), document.clone())));
                index.upsert(&scope, documents, &ctx).await.unwrap();
            }
            Step::Delete(names) => {
                let ids: Vec<DocumentId> = names.iter().map(|name| id(&format!("doc{name}"))).collect();
                let existed: std::collections::BTreeSet<_> =
                    ids.iter().filter(|id| model.remove(id.as_str()).is_some()).collect();
                assert_eq!(index.delete(&scope, &ids, &ctx).await.unwrap(), existed.len() as u64);
            }
            Step::DeleteTopic(tea) => {
                let before = model.len();
                let filter = Filter::eq("topic", topic(tea));
                let matching = model.iter().filter(|(_, document)| filter.matches(&document.metadata));
                let matching: Vec<DocumentId> = matching.map(|(_, document)| document.id.clone()).collect();
                assert_eq!(index.matching(&scope, &filter, &ctx).await.unwrap(), matching);
                model.retain(|_, document| !filter.matches(&document.metadata));
                let deleted = index.delete_matching(&scope, &filter, &ctx).await.unwrap();
                assert_eq!(deleted, (before - model.len()) as u64);
            }
            Step::Compact => index.compact(&scope, &ctx).await.unwrap(),
            Step::Reopen => {
                index.close().await.unwrap();
                index = open(&disk).await.unwrap();
            }
            Step::Crash(end) => {
                disk = disk.after(end);
                drop(index);
                index = open(&disk).await.unwrap();
            }
        }
        assert_eq!(contents(&index).await.unwrap(), model_of(&model));
        check_legs(&index, &model).await.unwrap();
    }
}

/// The file begun by a compaction was taken, when opened while still empty, to begin before the file it follows; the next
/// compaction then dropped that one's vectors.
#[test]
fn vectors_survive_a_compaction_after_opening_with_an_empty_log() {
    let put = |documents: &[(u8, u8, bool)]| Step::Put(documents.to_vec());
    run(replay(vec![
        put(&[(0, 0, false)]),
        put(&[(0, 1, false)]),
        Step::Compact,
        Step::Reopen,
        put(&[(4, 10, false), (4, 0, false)]),
        Step::Compact,
        Step::Reopen,
    ]));
}

/// The last of the two is stored already, so nothing was written for it, and the first one stayed.
#[test]
fn of_two_documents_with_the_same_id_the_last_counts_also_if_it_is_stored_already() {
    let put = |documents: &[(u8, u8, bool)]| Step::Put(documents.to_vec());
    run(replay(vec![put(&[(5, 216, false)]), put(&[(5, 0, false), (5, 216, false)])]));
}

#[test]
fn random_histories_agree_with_a_plain_map() {
    let config = |cases| ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let try_some = |cases| {
        proptest::test_runner::TestRunner::new(config(cases)).run(&steps(), |steps| {
            run(replay(steps));
            Ok(())
        })
    };
    let minutes =
        std::env::var_os(MINUTES).and_then(|minutes| minutes.into_string().ok()?.parse::<u64>().ok());
    let end = minutes.map(|minutes| std::time::Instant::now() + std::time::Duration::from_secs(60 * minutes));
    let mut tried = 0;
    loop {
        try_some(24).unwrap();
        tried += 24;
        if end.is_none_or(|end| std::time::Instant::now() >= end) {
            break;
        }
    }
    eprintln!("{tried} histories agree");
}
