//! Measuring retrieval on data sets in BEIR form, with the metrics of `trec_eval` and runs that it can read.
//!
//! [`Dataset`] reads the folder, [`evaluate`] runs every query through each leg and their fusion, [`Report`]
//! holds the figures and the [`Run`]s behind them.

mod dataset;
mod evaluate;
mod metrics;
mod run;

pub use dataset::{Dataset, Documents, Judgements, Query};
pub use evaluate::{EvalLeg, EvalOptions, LegReport, Progress, Report, evaluate};
pub use metrics::{Scores, ndcg, recall, reciprocal_rank};
pub use run::{Ranked, Run};
