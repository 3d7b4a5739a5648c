//! The integration tests of agentkit-rag, one binary.

#[cfg(test)]
mod load;
