//! What to measure, and how.

use std::fmt;
use std::sync::Arc;

use agentkit_core::{MAX_TOP_K, SearchPlan, TenantScope};

use super::conversations::Conversations;
use super::metric::Metric;
use super::stats::Resampling;

/// Documents a run has for each query unless told otherwise.
const DEPTH: usize = 100;
/// Queries in flight at once unless told otherwise.
const CONCURRENCY: usize = 4;

/// A search plan and what reports call it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedPlan {
    /// Its name in reports, unique in one evaluation.
    pub name: String,
    /// The plan.
    pub plan: SearchPlan,
}

impl NamedPlan {
    /// Calls `plan` by this name.
    #[must_use]
    pub fn new(name: impl Into<String>, plan: SearchPlan) -> Self {
        Self { name: name.into(), plan }
    }

    /// The default plan and its legs alone: `bm25`, `dense` and `hybrid`.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        vec![
            Self::new("bm25", SearchPlan::lexical()),
            Self::new("dense", SearchPlan::dense()),
            Self::new("hybrid", SearchPlan::default()),
        ]
    }
}

/// How far an evaluation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Which plan is being measured, counted from 0.
    pub run: usize,
    /// How many there are.
    pub runs: usize,
    /// Its queries that are done.
    pub done: usize,
    /// Its queries.
    pub total: usize,
}

type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What to measure and how.
#[derive(Clone)]
pub struct EvalOptions {
    pub(super) scope: TenantScope,
    pub(super) plans: Vec<NamedPlan>,
    pub(super) metrics: Vec<Metric>,
    pub(super) depth: usize,
    pub(super) concurrency: usize,
    pub(super) resampling: Resampling,
    pub(super) conversations: Arc<Conversations>,
    pub(super) on_progress: Option<OnProgress>,
}

impl EvalOptions {
    /// Measures the default plan and its legs by the usual metrics in `scope`, which must hold exactly the data set's
    /// documents.
    #[must_use]
    pub fn new(scope: TenantScope) -> Self {
        Self {
            scope,
            plans: NamedPlan::usual(),
            metrics: Metric::usual(),
            depth: DEPTH,
            concurrency: CONCURRENCY,
            resampling: Resampling::default(),
            conversations: Arc::default(),
            on_progress: None,
        }
    }

    /// Measures these plans. A retriever that takes no notice of plans is measured with one of any kind.
    #[must_use]
    pub fn plans(mut self, plans: impl IntoIterator<Item = NamedPlan>) -> Self {
        self.plans = plans.into_iter().collect();
        self
    }

    /// Measures by these metrics; see [`Metric::usual`].
    #[must_use]
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Metric>) -> Self {
        self.metrics = metrics.into_iter().collect();
        self
    }

    /// How many documents a run has for each query, at least 1; 100 by default. A leg looks at no fewer candidates
    /// than it is asked for, so with 100 a plan may do better than it does for a user who asks for 10.
    #[must_use]
    pub fn depth(mut self, documents: usize) -> Self {
        self.depth = documents.clamp(1, MAX_TOP_K);
        self
    }

    /// How many queries run at once, at least 1; 4 by default. Latencies are those of a quiet machine only with 1.
    #[must_use]
    pub fn concurrency(mut self, queries: usize) -> Self {
        self.concurrency = queries.max(1);
        self
    }

    /// How intervals and tests are computed.
    #[must_use]
    pub fn resampling(mut self, resampling: Resampling) -> Self {
        self.resampling = resampling;
        self
    }

    /// Asks each query in the conversation that has its id here, if there is one; see
    /// [`RewritingRetriever`](agentkit_core::RewritingRetriever).
    #[must_use]
    pub fn conversations(mut self, before: Conversations) -> Self {
        self.conversations = Arc::new(before);
        self
    }

    /// Calls this after each query.
    #[must_use]
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(call));
        self
    }
}

impl fmt::Debug for EvalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvalOptions")
            .field("scope", &self.scope)
            .field("plans", &self.plans)
            .field("metrics", &self.metrics)
            .field("depth", &self.depth)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
