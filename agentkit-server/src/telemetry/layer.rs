//! Makes metrics of the libraries' spans and events, whatever is logged.

use std::time::Instant;

use agentkit_core::telemetry::TARGET;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Metrics;

/// A layer that counts into `metrics`.
pub(crate) fn metrics_layer<S: Subscriber + for<'s> LookupSpan<'s>>(metrics: Metrics) -> impl Layer<S> {
    let ours = filter_fn(|metadata| metadata.target() == TARGET);
    // Without the hint every library would make its finest records, only to have them thrown away.
    MetricsLayer(metrics).with_filter(ours.with_max_level_hint(LevelFilter::DEBUG))
}

struct MetricsLayer(Metrics);

/// What a span has told so far.
struct Open {
    begun: Instant,
    told: Told,
}

/// The fields that metrics are made of.
#[derive(Default)]
struct Told {
    leg: String,
    side: String,
    model: String,
    outcome: String,
    queue: String,
    cache: String,
    failed: bool,
    found: bool,
    tokens: [u64; 2],
    waiting: u64,
    waited: f64,
    first_token: Option<f64>,
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for MetricsLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut open = Open { begun: Instant::now(), told: Told::default() };
        attributes.record(&mut open.told);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(open);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.told);
        }
    }

    fn on_event(&self, event: &Event<'_>, _ctx: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        if !told.queue.is_empty() {
            self.0.dequeued(&told.queue, told.waited, told.waiting);
        }
        if !told.cache.is_empty() {
            self.0.looked_up(&told.cache, told.found);
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(&id)
            && let Some(Open { begun, told }) = span.extensions_mut().remove::<Open>()
        {
            self.closed(span.name(), begun.elapsed().as_secs_f64(), &told);
        }
    }
}

impl MetricsLayer {
    fn closed(&self, span: &str, seconds: f64, told: &Told) {
        match span {
            "leg" => self.0.retrieved(&told.leg, seconds),
            "retrieval" => self.0.retrieved("all", seconds),
            "rerank" => self.0.retrieved("rerank", seconds),
            "embeddings" => self.0.embedded(&told.side, seconds),
            "chat" => {
                self.0.asked_model(&told.model, told.failed, seconds);
                self.0.tokens(&told.model, told.tokens);
            }
            "invoke_agent" => self.run(told),
            _ => {}
        }
    }

    fn run(&self, told: &Told) {
        let outcome = if told.failed { "failed" } else { &told.outcome };
        // Nobody waited for the end of a run that did not say how it ended.
        self.0.run(if outcome.is_empty() { "left" } else { outcome });
        if let Some(seconds) = told.first_token {
            self.0.first_token(seconds);
        }
    }
}

impl Visit for Told {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match field.name() {
            "agentkit.waited" => self.waited = value,
            "agentkit.time_to_first_token" => self.first_token = Some(value),
            _ => {}
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let value = u64::try_from(value).unwrap_or_default();
        let [input, output] = &mut self.tokens;
        match field.name() {
            "gen_ai.usage.input_tokens" => *input = value,
            "gen_ai.usage.output_tokens" => *output = value,
            "agentkit.waiting" => self.waiting = value,
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "agentkit.found" {
            self.found = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let of = match field.name() {
            "agentkit.leg" => &mut self.leg,
            "agentkit.side" => &mut self.side,
            "agentkit.outcome" => &mut self.outcome,
            "agentkit.queue" => &mut self.queue,
            "agentkit.cache" => &mut self.cache,
            "gen_ai.request.model" => &mut self.model,
            // Whoever left did not fail.
            "error.type" => {
                self.failed = value != "cancelled";
                return;
            }
            _ => return,
        };
        value.clone_into(of);
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentkit_core::telemetry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn spans_and_events_of_the_libraries_become_metrics_and_others_do_not() {
        let metrics = Metrics::new();
        let subscriber = tracing_subscriber::registry().with(metrics_layer(metrics.clone()));
        tracing::subscriber::with_default(subscriber, || {
            telemetry::leg("dense", || ());
            telemetry::dequeued("short", Duration::from_millis(3), 2);
            telemetry::looked_up("answers", true);
            let _other = tracing::info_span!("leg", agentkit.leg = "foreign").entered();
        });
        let text = metrics.text().unwrap();
        for line in [
            "agentkit_retrieval_duration_seconds_count{leg=\"dense\"} 1",
            "agentkit_embedding_queue_seconds_bucket{queue=\"short\",le=\"0.005\"} 1",
            "agentkit_embedding_waiting{queue=\"short\"} 2",
            "agentkit_cache_lookups_total{cache=\"answers\",result=\"hit\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(!text.contains("foreign"), "{text}");
    }
}
