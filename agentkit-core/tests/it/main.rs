//! The integration tests of agentkit-core: doubles against the suites, and the OpenAI client against servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that fails ends its test"
)]

mod agents;
mod broken;
mod conformance;
mod openai_codec;
mod openai_http;
mod server;
