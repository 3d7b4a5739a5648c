//! One suite per contract: run it on your implementation, and it panics with the first rule that is broken.
//!
//! The suites use real time, with 30 seconds of patience for a call that does not end: run them under an
//! ordinary clock. What they need besides the implementation, they bring along or take as a small fixture.
#![expect(clippy::panic, reason = "a broken rule ends the test that runs the suite")]

mod agent;
mod chat_model;
mod checkpointer;
mod embedder;
mod memory;
mod reranker;
mod retriever;
mod state_store;
mod tool;

use std::time::Duration;

pub use self::agent::{AgentFixture, agent};
pub use self::chat_model::chat_model;
pub use self::checkpointer::checkpointer;
pub use self::embedder::embedder;
pub use self::memory::memory;
pub use self::reranker::reranker;
pub use self::retriever::{
    FixtureDocument, fixture_documents, fixture_scope, ingest_fixture, retriever, retriever_plans,
};
pub use self::state_store::state_store;
pub use self::tool::tool;
use crate::context::RunContext;
use crate::error::Result;

/// How long a call may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// Components of vectors and scores may differ by this much between two calls.
const TOLERANCE: f32 = 1e-4;

/// Contexts that must stop every call at once, with the words for them.
fn stopped_contexts() -> [(&'static str, RunContext); 2] {
    let cancelled = RunContext::new();
    cancelled.cancel();
    let late = RunContext::new().with_timeout(Duration::ZERO);
    [("a cancelled context", cancelled), ("a deadline that has passed", late)]
}

/// Waits for `work`, but not for ever.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(PATIENCE, work).await else {
        panic!("{what} did not end within {} seconds", PATIENCE.as_secs());
    };
    done
}

/// The value of a call that has to succeed.
#[track_caller]
fn succeeds<T>(what: &str, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} failed: {error:?}"),
    }
}

/// A call under a stopped context has to fail, and say that it was stopped.
#[track_caller]
fn is_stopped<T>(what: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("{what} succeeded although its context was stopped"),
        Err(error) => assert!(error.is_stopped(), "{what} was stopped but failed with {error:?}"),
    }
}

/// A call with bad input has to fail, and say that the input is bad.
#[track_caller]
fn is_invalid<T>(what: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("{what} was accepted instead of refused as invalid input"),
        Err(error) => assert!(error.is_invalid_input(), "{what} is not invalid input but {error:?}"),
    }
}

/// A call that is cancelled while it runs has to end soon, with success or saying that it was stopped.
async fn ends_when_cancelled<T>(what: &str, ctx: &RunContext, work: impl Future<Output = Result<T>>) {
    let cancel = async {
        tokio::task::yield_now().await;
        ctx.cancel();
    };
    let (result, ()) = soon(what, async { tokio::join!(work, cancel) }).await;
    if let Err(error) = result {
        assert!(error.is_stopped(), "{what} was cancelled on its way but failed with {error:?}");
    }
}
