//! agentkit.
