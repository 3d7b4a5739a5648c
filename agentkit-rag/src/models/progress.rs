//! Telling a waiting person how far a download is.

use agentkit_core::Result;
use tokio::sync::watch;

/// Is told how far a long piece of work has come.
///
/// Calls come from one task at a time, at most a few a second; implementations must not block.
pub trait Progress: Send + Sync {
    /// `what` has done `done` bytes of `total`, if that is known.
    fn step(&self, what: &str, done: u64, total: Option<u64>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn step(&self, _what: &str, _done: u64, _total: Option<u64>) {}
}

#[derive(Debug, Clone, Default)]
struct Step {
    what: String,
    done: u64,
    total: Option<u64>,
}

/// The sending end for blocking work; only the newest step is kept, so that a slow listener delays nothing.
#[derive(Debug)]
pub(super) struct Reporter(watch::Sender<Step>);

impl Reporter {
    pub(super) fn step(&self, what: &str, done: u64, total: Option<u64>) {
        self.0.send_replace(Step { what: what.to_owned(), done, total });
    }
}

/// Drives `work` and passes on to `progress` what it reports.
pub(super) async fn relay<T, F>(progress: &dyn Progress, work: impl FnOnce(Reporter) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let (sender, mut receiver) = watch::channel(Step::default());
    let mut work = std::pin::pin!(work(Reporter(sender)));
    loop {
        tokio::select! {
            done = &mut work => return done,
            Ok(()) = receiver.changed() => {
                let step = receiver.borrow_and_update().clone();
                progress.step(&step.what, step.done, step.total);
            }
        }
    }
}
