//! The crate's integration tests, in one binary.

mod answer;
mod answer_quality;
mod eval;
