//! The integration tests of agentkit-rag, one binary.

mod answer;
mod answer_quality;
mod conformance;
mod crash;
mod embed;
mod eval;
mod index;
mod load;
mod quality;
