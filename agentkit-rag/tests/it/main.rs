//! The integration tests of agentkit-rag, one binary.

mod embed;
mod load;
