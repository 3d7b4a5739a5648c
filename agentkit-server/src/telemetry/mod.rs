//! What the service tells about itself: metrics for Prometheus, made of what the HTTP layer counts and of the libraries' spans.

mod layer;
mod metrics;
mod process;
mod start;

pub(crate) use self::layer::metrics_layer;
pub use self::metrics::Metrics;
pub(crate) use self::metrics::{Dependencies, Refusal, Requested};
pub(crate) use self::start::start;
