use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::{Control, Delivery, Error, Result, SinkMessage};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::retry::RetryLayer;
use kafka_tower_layers::telemetry::{BatchSpan, Telemetry, TelemetryLayer};
#[cfg(feature = "rdkafka")]
use kafka_tower_rdkafka::RdkafkaBuilder;
use opentelemetry::{Context, ContextGuard};
use tower_layer::Layer;
use tower_service::Service;

use super::super::boxed::{self, DynStack};
use super::super::deadline;
#[cfg(feature = "rdkafka")]
use crate::KafkaSinkConfig;

/// The telemetry that the builder was given.
#[derive(Clone, Debug, Default)]
pub(in crate::sink) struct TelemetrySetting(Option<Telemetry>);

impl TelemetrySetting {
    pub(in crate::sink) fn of(telemetry: Telemetry) -> Self {
        Self(Some(telemetry))
    }

    pub(in crate::sink) fn of_topic(&self, topic: &str) -> SinkTelemetry {
        SinkTelemetry(self.0.as_ref().map(|telemetry| telemetry.layer(topic)))
    }

    /// Adds the client id and the server address from the configuration.
    #[cfg(feature = "rdkafka")]
    pub(in crate::sink) fn for_client(self, config: &KafkaSinkConfig) -> Self {
        Self(self.0.map(|telemetry| telemetry.for_client(&config.client_id, only_broker(&config.brokers))))
    }

    #[cfg(feature = "rdkafka")]
    pub(in crate::sink) fn statistics(&self, config: &KafkaSinkConfig, builder: RdkafkaBuilder) -> RdkafkaBuilder {
        let wanted = config.properties.get("statistics.interval.ms").is_some_and(|every| every != "0");
        match &self.0 {
            Some(telemetry) if wanted => builder.events(crate::telemetry::statistics::Late::new(telemetry)),
            None if wanted => {
                tracing::warn!(
                    "\"statistics.interval.ms\" is set, and the sink has no Telemetry that would record the \
                     statistics: set one with SinkBuilder::telemetry, or remove the property"
                );
                builder
            }
            _ => builder,
        }
    }
}

/// The server address, if exactly one broker is configured. With several, the one in use is unknown.
#[cfg(feature = "rdkafka")]
fn only_broker(brokers: &str) -> Option<(&str, u16)> {
    let mut brokers = brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty());
    let broker = brokers.next()?;
    if brokers.next().is_some() {
        return None;
    }
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (broker, 9092),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']'), port))
}

/// The sink's telemetry layer, if any.
#[derive(Clone, Debug, Default)]
pub(in crate::sink) struct SinkTelemetry(Option<TelemetryLayer>);

impl SinkTelemetry {
    /// Wraps the stack in the telemetry layer, if any, and erases its type. Without a layer the type stays as it was.
    pub(in crate::sink) fn erase<T, S>(&self, stack: S) -> Box<dyn DynStack<T>>
    where
        T: 'static,
        S: Service<SinkMessage<T>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        match &self.0 {
            Some(layer) => boxed::erase(layer.layer(stack)),
            None => boxed::erase(stack),
        }
    }

    pub(in crate::sink) fn retries(&self, retry: RetryLayer) -> RetryLayer {
        match &self.0 {
            Some(layer) => retry.on_retry(layer.on_retry()),
            None => retry,
        }
    }

    pub(in crate::sink) fn watch(&self, breaker: Option<&CircuitBreakerHandle>, control: &Arc<dyn Control>) {
        if let Some(layer) = &self.0 {
            if let Some(breaker) = breaker {
                layer.watch_breaker(breaker);
            }
            layer.telemetry().watch(control);
        }
    }

    /// Records a wait for room, for this topic or the sink's.
    pub(in crate::sink) fn waited(&self, topic: Option<&Arc<str>>, since: Instant) {
        if let Some(layer) = &self.0 {
            layer.record_wait(topic, passed(Some(since)));
        }
    }

    /// Records a send that ended without reaching the stack.
    pub(in crate::sink) fn refused(&self, topic: Option<&Arc<str>>, error: &Error) {
        if let Some(layer) = &self.0 {
            layer.record_refused(topic, error.elapsed().unwrap_or_default(), error);
        }
    }

    /// The trace context of the task that polls now.
    pub(in crate::sink) fn caller(&self) -> CallerContext {
        CallerContext(self.0.as_ref().map(|_| Context::current()))
    }

    /// Records a send that was dropped while it waited for room.
    pub(in crate::sink) fn abandoned(&self, topic: Option<&Arc<str>>, since: Option<Instant>, caller: &CallerContext) {
        if let (Some(layer), Some(caller)) = (&self.0, &caller.0) {
            layer.record_abandoned(topic, passed(since), caller);
        }
    }

    pub(in crate::sink) fn batch(&self) -> BatchTelemetry {
        BatchTelemetry(self.0.as_ref().map(TelemetryLayer::batch))
    }

    pub(in crate::sink) fn begun(&self) {
        if let Some(layer) = &self.0 {
            layer.transactions().begun();
        }
    }

    pub(in crate::sink) fn committing(&self) {
        if let Some(layer) = &self.0 {
            layer.transactions().committing();
        }
    }

    pub(in crate::sink) fn committed(&self, result: &Result<()>) {
        if let Some(layer) = &self.0 {
            layer.transactions().committed(result);
        }
    }

    pub(in crate::sink) fn aborting(&self) {
        if let Some(layer) = &self.0 {
            layer.transactions().aborting();
        }
    }

    pub(in crate::sink) fn aborted(&self, result: &Result<()>) {
        if let Some(layer) = &self.0 {
            layer.transactions().aborted(result);
        }
    }
}

fn passed(since: Option<Instant>) -> Duration {
    since.map(|since| deadline::now().saturating_duration_since(since)).unwrap_or_default()
}

/// Trace context of the caller, if the sink has telemetry.
#[derive(Debug, Default)]
pub(in crate::sink) struct CallerContext(Option<Context>);

impl CallerContext {
    /// Makes the context current again until the guard is dropped, in the same poll.
    pub(in crate::sink) fn attach(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }
}

/// Span of a batch, if the sink has telemetry.
#[derive(Debug)]
pub(in crate::sink) struct BatchTelemetry(Option<BatchSpan>);

impl BatchTelemetry {
    /// Sends belong to the batch until the guard is dropped, in the same poll.
    pub(in crate::sink) fn attach(&self) -> Option<ContextGuard> {
        self.0.as_ref().and_then(BatchSpan::attach)
    }

    /// Records the waiting message of a batch that was dropped.
    pub(in crate::sink) fn abandoned(&self, topic: Option<&Arc<str>>) {
        if let Some(batch) = &self.0 {
            batch.record_abandoned(topic);
        }
    }

    pub(in crate::sink) fn finish(self, results: &[Result<Delivery>]) {
        if let Some(batch) = self.0 {
            batch.finish(results);
        }
    }
}

#[cfg(all(test, feature = "rdkafka"))]
mod tests {
    use super::only_broker;

    #[test]
    fn one_broker_is_the_server() {
        assert_eq!(only_broker("kafka:19092"), Some(("kafka", 19092)));
        assert_eq!(only_broker(" kafka ,"), Some(("kafka", 9092)));
        assert_eq!(only_broker("[::1]:9094"), Some(("::1", 9094)));
        assert_eq!(only_broker("[::1]"), Some(("::1", 9092)));
        assert_eq!(only_broker("a:9092,b:9092"), None);
        assert_eq!(only_broker(""), None);
    }
}
