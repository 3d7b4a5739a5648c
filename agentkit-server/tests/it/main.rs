//! The service over doubles: every route, every refusal, streaming, shedding and shutdown.

mod answers;
mod bad_input;
mod cli;
mod description;
mod documents;
mod doubles;
mod guards;
mod lifecycle;
mod support;
