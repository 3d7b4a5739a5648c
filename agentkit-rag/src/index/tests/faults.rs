//! Every operation on the disk fails once, or is the last before a kill or a power loss.
//!
//! A fixed history of writes runs until the failure. What was acknowledged must then be there, what was not
//! acknowledged as a whole or not at all, and the index must go on working.

use super::super::storage::simulated::{End, Fault};
use super::*;

/// Set to a number: only every so many-th operation is tried. By default the walk takes about a minute.
const STRIDE: &str = "AGENTKIT_FAULT_STRIDE";

/// A write of the history.
#[derive(Debug, Clone)]
enum Step {
    Put(Vec<SourceDocument>),
    Delete(&'static str),
    Compact,
}

fn history() -> Vec<Step> {
    let text =
        |n: usize, words: usize| format!("common number{n} {}", "common and more words. ".repeat(words));
    let put = |documents: &[(&str, usize, usize)]| {
        let documents = documents
            .iter()
            .map(|(id, n, words)| document(id, &text(*n, *words), if n % 2 == 0 { "tea" } else { "coffee" }));
        Step::Put(documents.collect())
    };
    vec![
        put(&[("a", 1, 10), ("b", 2, 200)]),
        put(&[("c", 3, 10)]),
        Step::Delete("a"),
        put(&[("b", 4, 200), ("d", 5, 3)]),
        Step::Compact,
        put(&[("e", 6, 3), ("a", 7, 5)]),
        Step::Delete("c"),
    ]
}

type Documents = BTreeMap<String, SourceDocument>;

fn apply(documents: &mut Documents, step: &Step) {
    match step {
        Step::Put(new) => {
            documents.extend(new.iter().map(|document| (document.id.to_string(), document.clone())));
        }
        Step::Delete(id) => {
            documents.remove(*id);
        }
        Step::Compact => {}
    }
}

async fn carry_out(index: &Index, step: &Step) -> Result<()> {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    match step {
        Step::Put(documents) => index.upsert(&scope, documents.clone(), &ctx).await.map(|_| ()),
        Step::Delete(gone) => index.delete(&scope, &[id(gone)], &ctx).await.map(|_| ()),
        Step::Compact => index.compact(&scope, &ctx).await,
    }
}

/// Runs the history as far as it goes: the documents acknowledged, those if the step that failed counts too, and
/// that step.
async fn run_history(disk: &Simulated) -> (Documents, Documents, Option<Step>) {
    let mut acknowledged = Documents::new();
    let Ok(index) = open(disk).await else { return (acknowledged.clone(), acknowledged, None) };
    for step in history() {
        let mut next = acknowledged.clone();
        apply(&mut next, &step);
        if carry_out(&index, &step).await.is_err() {
            // A step is in doubt only if nothing after it was tried.
            return (acknowledged, next, Some(step));
        }
        acknowledged = next;
    }
    (acknowledged.clone(), acknowledged, None)
}

/// One of the two states is there, and the index can be written to.
async fn check(disk: &Simulated, states: (Documents, Documents), what: &str) {
    let index = open(disk).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    let stored = contents(&index).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    let mut documents = match states {
        (before, _) if stored == model_of(&before) => before,
        (_, after) if stored == model_of(&after) => after,
        states => panic!(
            "{what}: neither state is there: {:?}\n{:?}\n{:?}",
            stored.keys(),
            states.0.keys(),
            states.1.keys()
        ),
    };
    check_legs(&index, &documents).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    let last = Step::Put(vec![document("last", "common and last of all", "tea")]);
    carry_out(&index, &last).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    apply(&mut documents, &last);
    check_legs(&index, &documents).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
}

/// The step that failed is carried out by the next process, whatever files the first try has left.
async fn try_again(disk: &Simulated, after: &Documents, failed: Option<&Step>, what: &str) {
    let Some(step) = failed else { return };
    let index = open(disk).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    carry_out(&index, step).await.unwrap_or_else(|error| panic!("{what}, again: {}", error.chain()));
    check_legs(&index, after).await.unwrap_or_else(|error| panic!("{what}, again: {}", error.chain()));
}

pub(super) fn points(all: u64) -> impl Iterator<Item = u64> {
    let stride = std::env::var_os(STRIDE).and_then(|stride| stride.into_string().ok()?.parse().ok());
    (0..all).step_by(stride.unwrap_or(7))
}

fn operations() -> u64 {
    let disk = Simulated::default();
    run(run_history(&disk));
    disk.operations()
}

#[test]
fn after_a_crash_at_any_operation_what_was_acknowledged_is_there() {
    for point in points(operations()) {
        let disk = Simulated::default().failing(Fault::From(point));
        let (before, after, failed) = run(run_history(&disk));
        for end in [End::Killed, End::PowerLoss, End::TornPowerLoss] {
            let what = format!("operation {point}, {end:?}");
            run(check(&disk.after(end), (before.clone(), after.clone()), &what));
            run(try_again(&disk.after(end), &after, failed.as_ref(), &what));
        }
    }
}

#[test]
fn a_single_failure_is_reported_or_overcome_and_the_same_process_goes_on() {
    let mut struck = 0;
    for point in points(operations()) {
        let disk = Simulated::default().failing(Fault::Once(point));
        let what = format!("operation {point} failed");
        run(async {
            let Ok(index) = open(&disk).await else { return };
            let mut states = (Documents::new(), Documents::new());
            for step in history() {
                let mut next = states.0.clone();
                apply(&mut next, &step);
                if carry_out(&index, &step).await.is_ok() {
                    states = (next.clone(), next);
                    continue;
                }
                // The same step again, by the same process: it must succeed now, whatever became of the first try.
                carry_out(&index, &step).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
                states = (next.clone(), next);
            }
            check_legs(&index, &states.0).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
            drop(index);
            check(&disk.after(End::PowerLoss), states, &what).await;
        });
        struck += u64::from(disk.struck());
    }
    assert!(struck > 10, "only {struck} failures struck");
}
