//! What accompanies every asynchronous call: cancellation, deadline, budget and trace.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Error, ErrorKind, Result};

/// The conditions under which a piece of work runs; cheap to clone, shared by everything the work starts.
///
/// Dropping a future that agentkit returned, or cancelling its context, stops the work behind it: sockets
/// close, and blocking work sees [`RunContext::check`] fail at its next step.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use agentkit_core::RunContext;
///
/// let ctx = RunContext::new().with_timeout(Duration::from_secs(5)).with_token_budget(10_000);
/// assert!(ctx.check().is_ok());
/// ctx.cancel();
/// assert!(ctx.check().unwrap_err().is_stopped());
/// ```
#[derive(Clone)]
pub struct RunContext {
    cancellation: CancellationToken,
    deadline: Option<Instant>,
    budget: Arc<Budget>,
    trace: TraceContext,
    idempotency_key: Option<Arc<str>>,
}

impl RunContext {
    /// A context without deadline or budget and with a fresh trace.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cancellation: CancellationToken::new(),
            deadline: None,
            budget: Arc::new(Budget::default()),
            trace: TraceContext::fresh(),
            idempotency_key: None,
        }
    }

    /// Ends the run `timeout` from now, or at the deadline it already has if that is earlier.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        if let Some(new) = Instant::now().checked_add(timeout) {
            self.deadline = Some(self.deadline.map_or(new, |old| old.min(new)));
        }
        self
    }

    /// Lets the run use at most `tokens` model tokens, input and output together.
    #[must_use]
    pub fn with_token_budget(mut self, tokens: u64) -> Self {
        self.budget = Arc::new(Budget { limit: Some(tokens), ..Budget::default() });
        self
    }

    /// Continues the caller's trace.
    #[must_use]
    pub fn with_trace(mut self, trace: TraceContext) -> Self {
        self.trace = trace;
        self
    }

    /// Names the effect of the work: work done again under the same key takes effect once.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// A context that stops with this one but can also be stopped alone; budget and trace are shared.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { cancellation: self.cancellation.child_token(), ..self.clone() }
    }

    /// Stops everything that runs under this context.
    pub fn cancel(&self) {
        self.cancellation.cancel();
    }

    /// Stops everything that runs under this context when the guard is dropped.
    #[must_use]
    pub fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop { _guard: self.cancellation.clone().drop_guard() }
    }

    /// When the run must end, if it must.
    #[must_use]
    pub fn deadline(&self) -> Option<std::time::Instant> {
        self.deadline.map(Instant::into_std)
    }

    /// The trace this run belongs to.
    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.trace
    }

    /// The key of the tool call that this work belongs to, the same when the call is made again after a crash.
    /// Pass it to the service behind the tool, so that the call takes effect once.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// Model tokens spent so far under this budget.
    #[must_use]
    pub fn tokens_spent(&self) -> u64 {
        self.budget.spent.load(Ordering::Relaxed)
    }

    /// Counts `tokens` against the budget.
    ///
    /// # Errors
    /// Budget exhausted, once more has been spent than was allowed.
    pub fn spend_tokens(&self, tokens: u64) -> Result<()> {
        let spent = self.budget.spent.fetch_add(tokens, Ordering::Relaxed).saturating_add(tokens);
        match self.budget.limit {
            Some(limit) if spent > limit => {
                self.budget.overspent.cancel();
                Err(budget_exhausted(spent, limit))
            }
            _ => Ok(()),
        }
    }

    /// Completes when more has been spent than was allowed, by whoever shares the budget.
    ///
    /// What is being stored when that happens may be finished, so [`RunContext::check`] does not fail for it; work
    /// that spends of the budget races with this.
    ///
    /// # Cancel safety
    /// Cancel safe: it holds no state.
    pub async fn overspent(&self) -> Error {
        self.budget.overspent.cancelled().await;
        budget_exhausted(self.tokens_spent(), self.budget.limit.unwrap_or_default())
    }

    /// Whether the run may go on; blocking work calls this between its steps.
    ///
    /// # Errors
    /// Cancelled or deadline exceeded.
    pub fn check(&self) -> Result<()> {
        if self.cancellation.is_cancelled() {
            return Err(cancelled());
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(deadline_exceeded()),
            _ => Ok(()),
        }
    }

    /// Completes when the run must stop, with the reason.
    ///
    /// # Cancel safety
    /// Cancel safe: it holds no state.
    pub async fn stopped(&self) -> Error {
        // A timer for a moment that has passed is not ready before the runtime's next tick.
        if let Err(stop) = self.check() {
            return stop;
        }
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancellation.cancelled() => cancelled(),
            () = deadline => deadline_exceeded(),
        }
    }

    /// Runs `work` until it ends or the run must stop, whichever is first; the work is dropped when stopped.
    ///
    /// # Cancel safety
    /// As cancel safe as `work`.
    ///
    /// # Errors
    /// What `work` returns, or cancelled or deadline exceeded.
    pub async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            stop = self.stopped() => Err(stop),
            done = work => done,
        }
    }

    /// Waits for this long, or until the run must stop.
    ///
    /// # Cancel safety
    /// Cancel safe: it holds no state.
    ///
    /// # Errors
    /// Cancelled or deadline exceeded.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        let wait = async {
            tokio::time::sleep(time).await;
            Ok(())
        };
        self.run(wait).await
    }

    /// Runs `work` on the blocking thread pool.
    ///
    /// The work is given a child context that is cancelled as soon as the returned future is dropped or this
    /// context stops, so it must call [`RunContext::check`] between its steps. A panic in `work` becomes an
    /// internal error.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the work; what the work did until then stands.
    ///
    /// # Errors
    /// What `work` returns, cancelled, deadline exceeded, or internal if it panicked.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.child();
        let _guard = inner.cancel_on_drop();
        // What the work tells belongs to the caller's span, whatever thread it runs on.
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            inner.check()?;
            span.in_scope(|| work(&inner))
        });
        self.run(async {
            task.await.unwrap_or_else(|join| Err(Error::internal("blocking work panicked").with_source(join)))
        })
        .await
    }
}

impl Default for RunContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RunContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunContext")
            .field("cancelled", &self.cancellation.is_cancelled())
            .field("deadline", &self.deadline)
            .field("tokens_spent", &self.tokens_spent())
            .field("trace", &self.trace)
            .finish_non_exhaustive()
    }
}

/// Cancels a [`RunContext`] when dropped.
#[derive(Debug)]
pub struct CancelOnDrop {
    _guard: DropGuard,
}

#[derive(Debug, Default)]
struct Budget {
    limit: Option<u64>,
    spent: AtomicU64,
    /// Cancelled when more than the limit is spent.
    overspent: CancellationToken,
}

/// Identifies a distributed trace and the span that caused this work, as in the W3C Trace Context recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

impl TraceContext {
    /// A new trace with random ids.
    #[must_use]
    pub fn fresh() -> Self {
        let high = u128::from(random_nonzero());
        let low = u128::from(random_nonzero());
        Self { trace_id: (high << 64) | low, span_id: random_nonzero(), sampled: true }
    }

    /// Reads a `traceparent` header; anything malformed is `None`, as the recommendation asks.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::TraceContext;
    ///
    /// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let trace = TraceContext::parse(header).unwrap();
    /// assert_eq!(trace.traceparent(), header);
    /// assert!(TraceContext::parse("00-0-0-01").is_none());
    /// ```
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sizes_match = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2);
        let lower_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !sizes_match || version == "ff" || ![version, trace, span, flags].into_iter().all(lower_hex) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace_id, span_id, sampled })
    }

    /// The trace id as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The `traceparent` header for a call made on behalf of this work.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// The standard library's hasher keys are random per instance, which is all a trace id needs.
fn random_nonzero() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the run was cancelled")
}

fn budget_exhausted(spent: u64, limit: u64) -> Error {
    Error::new(ErrorKind::BudgetExhausted, format!("the run used {spent} tokens of {limit} allowed"))
}

fn deadline_exceeded() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the run's deadline passed")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earlier_deadline_wins_and_stops_work_that_never_ends() {
        let ctx =
            RunContext::new().with_timeout(Duration::from_secs(1)).with_timeout(Duration::from_secs(60));
        let begun = Instant::now();
        let stop = ctx.run(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(stop.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test]
    async fn work_that_is_ready_at_once_does_not_outrun_a_deadline_that_has_passed() {
        let late = RunContext::new().with_timeout(Duration::ZERO);
        assert!(late.run(async { Ok(()) }).await.unwrap_err().is_stopped());
    }

    #[tokio::test]
    async fn dropping_the_future_stops_its_blocking_work() {
        let (told, stopped) = mpsc::channel();
        let (started, begun) = tokio::sync::oneshot::channel();
        let ctx = RunContext::new();
        let work = ctx.run_blocking(move |ctx| {
            started.send(()).expect("the test waits for the start");
            while ctx.check().is_ok() {
                std::hint::spin_loop();
            }
            told.send(()).expect("the test waits for the stop");
            Ok(())
        });
        tokio::select! {
            _ = work => panic!("the work only ends when it is stopped"),
            _ = begun => {}
        }
        stopped.recv_timeout(Duration::from_secs(10)).expect("the work saw the cancellation");
        assert!(ctx.check().is_ok(), "only the child was cancelled");
    }

    #[tokio::test]
    async fn a_panic_in_blocking_work_is_an_internal_error() {
        let ctx = RunContext::new();
        let result: Result<()> = ctx.run_blocking(|_| panic!("boom")).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn a_child_shares_the_budget_but_not_its_cancellation_upwards() {
        let ctx = RunContext::new().with_token_budget(10);
        let child = ctx.child();
        child.cancel();
        assert!(child.check().is_err());
        assert!(ctx.check().is_ok());
        assert!(child.spend_tokens(10).is_ok());
        assert_eq!(ctx.spend_tokens(1).unwrap_err().kind(), ErrorKind::BudgetExhausted);
    }

    #[tokio::test]
    async fn whoever_shares_a_budget_learns_that_it_is_overspent() {
        let ctx = RunContext::new().with_token_budget(10);
        let child = ctx.child();
        assert!(futures_util::poll!(std::pin::pin!(child.overspent())).is_pending());
        let _ = ctx.spend_tokens(11);
        let error = child.overspent().await;
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::BudgetExhausted, "the run used 11 tokens of 10 allowed")
        );
        assert!(child.check().is_ok(), "what has to be stored can be stored");
    }
}
