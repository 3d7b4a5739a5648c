//! The integration tests of agentkit-rag, one binary.

mod crash;
mod embed;
mod index;
mod load;
