//! Running a library on input that nobody vouches for: on a thread of its own, within a time limit.
//!
//! A panic ends the thread only. A thread that does not come back cannot be ended from outside, so it is given up on: it is
//! counted until it ends by itself, and when too many are out nothing more is started. So files that keep a library busy for
//! ever cost a bounded number of threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::Builder;

use agentkit_core::{Error, Result};

use super::super::limits::Budget;

/// Threads that may be out at a time.
const MAX_GIVEN_UP: usize = 4;
/// The stack of a thread; the library's own limits of nesting fit in well.
const STACK_BYTES: usize = 64 << 20;

/// Threads that were given up on and still run.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` within what is left of the time; a panic of it is an error, its own if that is what it unwinds with.
pub(super) fn run<T: Send + 'static>(
    budget: &Budget,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    counted(&GIVEN_UP, budget, work)
}

fn counted<T: Send + 'static>(
    given_up: &'static AtomicUsize,
    budget: &Budget,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if given_up.load(Ordering::Acquire) >= MAX_GIVEN_UP {
        return Err(budget.exceeded(format_args!(
            "{MAX_GIVEN_UP} files before it are still being read though their time is up"
        )));
    }
    let (sender, receiver) = sync_channel(1);
    // Whoever comes second, the end of the work or the end of the patience, settles the count.
    let settled = Arc::new(AtomicBool::new(false));
    let ended = settled.clone();
    let task = move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // The receiver may be gone.
        let _ = sender.send(outcome);
        if ended.swap(true, Ordering::AcqRel) {
            given_up.fetch_sub(1, Ordering::AcqRel);
        }
    };
    let started = Builder::new().name("load-pdf".into()).stack_size(STACK_BYTES).spawn(task);
    started.map_err(|error| Error::io(format!("load {}: start a thread", budget.name()), error))?;
    match receiver.recv_timeout(budget.time_left()) {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(panic.downcast::<Error>().map_or_else(|_| overwhelmed(budget), |error| *error)),
        Err(RecvTimeoutError::Disconnected) => Err(overwhelmed(budget)),
        Err(RecvTimeoutError::Timeout) => {
            given_up.fetch_add(1, Ordering::AcqRel);
            if settled.swap(true, Ordering::AcqRel) {
                given_up.fetch_sub(1, Ordering::AcqRel);
            }
            let limit = budget.limits.time;
            Err(budget.exceeded(format_args!("it takes longer than the limit of {limit:?}")))
        }
    }
}

fn overwhelmed(budget: &Budget) -> Error {
    budget.malformed("it is damaged in a way that its reader cannot cope with")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use agentkit_core::{DocumentId, ErrorKind};

    use super::super::super::{LoadLimits, RawFile};
    use super::*;

    /// Of this test alone, since others run beside it.
    static OUT: AtomicUsize = AtomicUsize::new(0);

    fn budget(milliseconds: u64) -> Budget {
        let limits = LoadLimits { time: Duration::from_millis(milliseconds), ..LoadLimits::default() };
        Budget::start(&RawFile::new(DocumentId::new("a.pdf").unwrap(), b"").with_limits(limits))
    }

    #[test]
    fn results_and_panics_come_back() {
        assert_eq!(run(&budget(60_000), || Ok(7)).unwrap(), 7);
        let error = run::<()>(&budget(60_000), || std::panic::resume_unwind(Box::new("boom"))).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains("a.pdf"), "{error}");
        let own = Error::not_found("its own");
        let error = run::<()>(&budget(60_000), || std::panic::resume_unwind(Box::new(own))).unwrap_err();
        assert!(error.is_not_found());
    }

    #[test]
    fn what_never_ends_is_given_up_on_and_not_started_without_bound() {
        let mut stop = Vec::new();
        for _ in 0..MAX_GIVEN_UP {
            let (sender, receiver) = channel::<()>();
            stop.push(sender);
            let error = counted(&OUT, &budget(1), move || Ok(receiver.recv().is_ok())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        }
        let error = counted(&OUT, &budget(60_000), || Ok(())).unwrap_err();
        assert!(error.message().contains("4 files before it"), "{error}");
        drop(stop);
        let started = Instant::now();
        while counted(&OUT, &budget(60_000), || Ok(())).is_err() {
            assert!(started.elapsed() < Duration::from_mins(1), "the threads have not ended");
            std::thread::yield_now();
        }
    }
}
