//! Stands in for the export of traces where feature `otlp` is off: nothing is exported, and a setting for it is refused.

use agentkit_core::{Error, ErrorKind, Result, TraceContext};
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Identity;

use crate::config::OtlpConfig;

/// Never made.
#[derive(Debug)]
pub(crate) enum Otlp {}

impl Otlp {
    pub(crate) fn new(_config: &OtlpConfig, _runtime: Handle) -> Result<Self> {
        let message = "export traces: this binary was built without the feature otlp";
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    pub(crate) fn layer<S: Subscriber>(&self) -> impl Layer<S> + use<S> {
        Identity::new()
    }

    #[expect(clippy::unused_async, reason = "as the one that exports")]
    pub(crate) async fn close(self) {}
}

pub(crate) fn continued(_span: &Span, _caller: Option<&TraceContext>) -> Option<TraceContext> {
    None
}
