//! The integration tests of agentkit-rag, one binary.

mod conformance;
mod crash;
mod embed;
mod index;
mod load;
mod quality;
