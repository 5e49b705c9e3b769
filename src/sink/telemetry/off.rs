use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::{Control, Delivery, Error, Result, SinkMessage};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::retry::RetryLayer;
#[cfg(feature = "rdkafka")]
use kafka_tower_rdkafka::RdkafkaBuilder;
use tower_service::Service;

use super::super::boxed::{self, DynStack};
#[cfg(feature = "rdkafka")]
use crate::KafkaSinkConfig;

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sink) struct TelemetrySetting(());

#[allow(clippy::unused_self)] // same signature as with the feature
impl TelemetrySetting {
    pub(in crate::sink) fn of_topic(self, _: &str) -> SinkTelemetry {
        SinkTelemetry(())
    }

    #[cfg(feature = "rdkafka")]
    pub(in crate::sink) fn for_client(self, _: &KafkaSinkConfig) -> Self {
        self
    }

    #[cfg(feature = "rdkafka")]
    pub(in crate::sink) fn statistics(self, config: &KafkaSinkConfig, builder: RdkafkaBuilder) -> RdkafkaBuilder {
        if config.properties.get("statistics.interval.ms").is_some_and(|every| every != "0") {
            tracing::warn!(
                "\"statistics.interval.ms\" is set, and nothing records the statistics: enable the cargo feature `opentelemetry` of \
                 kafka-tower and give the sink a Telemetry, or remove the property"
            );
        }
        builder
    }
}

#[derive(Clone, Debug, Default)]
pub(in crate::sink) struct SinkTelemetry(());

#[allow(clippy::unused_self)] // same signature as with the feature
impl SinkTelemetry {
    pub(in crate::sink) fn erase<T, S>(&self, stack: S) -> Box<dyn DynStack<T>>
    where
        S: Service<SinkMessage<T>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        boxed::erase(stack)
    }

    pub(in crate::sink) fn retries(&self, retry: RetryLayer) -> RetryLayer {
        retry
    }

    pub(in crate::sink) fn watch(&self, _: Option<&CircuitBreakerHandle>, _: &Arc<dyn Control>) {}

    pub(in crate::sink) fn waited(&self, _: Option<&Arc<str>>, _: Instant) {}

    pub(in crate::sink) fn refused(&self, _: Option<&Arc<str>>, _: &Error) {}

    pub(in crate::sink) fn caller(&self) -> CallerContext {
        CallerContext(())
    }

    pub(in crate::sink) fn abandoned(&self, _: Option<&Arc<str>>, _: Option<Instant>, _: &CallerContext) {}

    pub(in crate::sink) fn batch(&self) -> BatchTelemetry {
        BatchTelemetry(())
    }

    pub(in crate::sink) fn begun(&self) {}

    pub(in crate::sink) fn committing(&self) {}

    pub(in crate::sink) fn committed(&self, _: &Result<()>) {}

    pub(in crate::sink) fn aborting(&self) {}

    pub(in crate::sink) fn aborted(&self, _: &Result<()>) {}
}

#[derive(Debug, Default)]
pub(in crate::sink) struct CallerContext(());

impl CallerContext {
    #[allow(clippy::unused_self)] // same signature as with the feature
    pub(in crate::sink) fn attach(&self) -> Current {
        Current(())
    }
}

#[derive(Debug)]
pub(in crate::sink) struct BatchTelemetry(());

impl BatchTelemetry {
    pub(in crate::sink) fn attach(&self) -> Current {
        Current(())
    }

    #[allow(clippy::unused_self)] // same signature as with the feature
    pub(in crate::sink) fn abandoned(&self, _: Option<&Arc<str>>) {}

    pub(in crate::sink) fn finish(self, _: &[Result<Delivery>]) {}
}

pub(in crate::sink) struct Current(());
