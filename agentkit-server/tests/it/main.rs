//! The service over doubles: every route, every refusal, streaming, shedding and shutdown.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails ends its test"
)]

mod answers;
mod bad_input;
mod bench;
mod cancel;
mod cli;
mod client_tools;
mod description;
mod documents;
mod doubles;
mod engine;
mod eval;
mod guards;
mod hostile;
mod idempotency;
mod identity;
mod ingest;
mod jobs;
mod keys;
mod kill;
mod lifecycle;
mod mcp;
mod metrics;
mod oidc;
mod openai;
mod openai_clients;
mod page;
mod personal;
mod reload;
mod resume;
mod schemathesis;
mod socket;
mod support;
mod tenants;
mod traces;
