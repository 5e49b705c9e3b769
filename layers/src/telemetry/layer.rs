use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::Error;
use opentelemetry::Context;
use tower_layer::Layer;

use super::end;
use super::scope::batch_of;
use super::sink::Sink;
use super::{BatchSpan, Telemetry, Traced, TransactionSpans};

/// Layer that creates [`Traced`] services. Created by [`Telemetry::layer`]. See the [module](super).
///
/// One layer is one sink: its clones, and the services that it creates, share the sink's transactions.
#[derive(Clone, Debug)]
pub struct TelemetryLayer {
    sink: Arc<Sink>,
}

impl Telemetry {
    /// Creates the layer of a sink for `topic`; messages may name other topics.
    #[must_use]
    pub fn layer(&self, topic: impl Into<Arc<str>>) -> TelemetryLayer {
        TelemetryLayer::new(self.clone(), &topic.into())
    }
}

impl TelemetryLayer {
    fn new(telemetry: Telemetry, topic: &Arc<str>) -> Self {
        telemetry.0.instruments.look();
        telemetry.0.instruments.warn();
        let topic = telemetry.0.topic(topic);
        let transaction = TransactionSpans::new(telemetry.clone(), Arc::clone(&topic));
        Self { sink: Arc::new(Sink { telemetry, topic, transaction }) }
    }

    pub(super) fn sink(&self) -> Arc<Sink> {
        Arc::clone(&self.sink)
    }

    /// The telemetry that the layer reports to.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.sink.telemetry
    }

    /// Begins a batch. Its span is a child of the current one.
    #[must_use]
    pub fn batch(&self) -> BatchSpan {
        BatchSpan::begin(&self.sink)
    }

    /// Handle that records the spans of transactions.
    #[must_use]
    pub fn transactions(&self) -> &TransactionSpans {
        &self.sink.transaction
    }

    /// Records how long a send waited for readiness before it was called. `topic` is the message's own topic; `None`
    /// for the sink's.
    pub fn record_wait(&self, topic: Option<&Arc<str>>, waited: Duration) {
        if let Some(instruments) = self.sink.telemetry.0.instruments.live() {
            instruments.queued(waited, &self.sink.topic_of(topic).metrics.topic);
        }
    }

    /// Records a send that failed before it was called, after `waited`: it did not become ready, or nothing can be
    /// sent. Its span starts and ends here. In a batch it counts as one of the messages.
    pub fn record_refused(&self, topic: Option<&Arc<str>>, waited: Duration, error: &Error) {
        let topic = self.sink.topic_of(topic);
        let current = Context::current();
        match batch_of(&current, &self.sink) {
            Some(batch) => batch.joined(&topic),
            None => end::unsent(&self.sink, &current, &topic, waited, Some(error)),
        }
    }

    /// Records a send that was dropped while it waited for readiness, after `waited`: it was not called. Its span
    /// starts and ends here, as a child of the caller's context.
    pub fn record_abandoned(&self, topic: Option<&Arc<str>>, waited: Duration, caller: &Context) {
        end::unsent(&self.sink, caller, &self.sink.topic_of(topic), waited, None);
    }
}

impl<S> Layer<S> for TelemetryLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced::new(inner, self.sink())
    }
}
