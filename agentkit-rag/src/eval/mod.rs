//! Measuring retrieval: data sets, metrics equal to those of `trec_eval`, intervals, tests and reports.
//!
//! [`Dataset`] reads queries and judgements, [`evaluate`] runs every query through a retriever by each of some search
//! plans, and [`Report`] holds the figures and the [`Run`]s behind them. [`Resampling`] says how far a figure can be
//! trusted and whether one run is better than another; a [`Gate`] says whether a report reaches what it must. Answers are
//! measured by [`evaluate_answers`], chunks by [`evaluate_spans`], and what tells the questions that cannot be answered by [`Abstention`].

mod abstention;
mod answers;
mod contain;
mod conversations;
mod dataset;
mod evaluate;
mod gate;
mod judgements;
mod markdown;
mod metric;
mod options;
mod picture;
mod queries;
mod questions;
mod records;
mod report;
mod rewriting;
mod run;
mod scores;
mod spans;
mod stats;
mod sweep;

pub use abstention::{Abstention, Refusals, evaluate_abstention, evaluate_support};
pub use answers::{AnswerFigures, AnswerOptions, AnswerReport, JudgedAnswer, evaluate_answers};
pub use conversations::{Conversations, read_conversations};
pub use dataset::{Dataset, Documents};
pub use evaluate::evaluate;
pub use gate::{Dropped, Gate, Minimum, Miss};
pub use judgements::{Judgements, Qrels, read_qrels};
pub use metric::{Measure, Metric};
pub use options::{EvalOptions, NamedPlan, Progress};
pub use queries::{Query, read_queries};
pub use questions::{Question, read_questions};
pub use report::{Latency, Report, RunReport};
pub use rewriting::{
    RewritingFigures, RewritingRates, RewrittenDialog, RewrittenTurn, read_rewritten_dialogs,
};
pub use run::{Ranked, Run};
pub use scores::Scores;
pub use spans::{SpanOptions, SpanQuestion, SpanReport, SpanScores, SpanSet, evaluate_spans};
pub use stats::{Interval, PairedTest, Resampling};
pub use sweep::{Dimension, sweep};
