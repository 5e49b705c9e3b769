use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::{Control, Delivery, Error, Result, SinkMessage};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::retry::RetryLayer;
#[cfg(feature = "rdkafka")]
use kafka_tower_rdkafka::RdkafkaBuilder;
use tower_service::Service;

use super::super::edge::{self, Edge};
use super::super::whole::Whole;
#[cfg(feature = "rdkafka")]
use crate::KafkaSinkConfig;

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sink) struct Told(());

#[allow(clippy::unused_self)] // same signature as with the feature
impl Told {
    pub(in crate::sink) fn traces(self, _: &str) -> Traces {
        Traces(())
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
pub(in crate::sink) struct Traces(());

#[allow(clippy::unused_self)] // same signature as with the feature
impl Traces {
    pub(in crate::sink) fn boxed<T, S>(&self, stack: S, whole: Option<&Whole>) -> Box<dyn Edge<T>>
    where
        S: Service<SinkMessage<T>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        edge::boxed(stack, whole)
    }

    pub(in crate::sink) fn retries(&self, retry: RetryLayer) -> RetryLayer {
        retry
    }

    pub(in crate::sink) fn watch(&self, _: Option<&CircuitBreakerHandle>, _: &Arc<dyn Control>) {}

    pub(in crate::sink) fn waited(&self, _: Option<&Arc<str>>, _: Instant) {}

    pub(in crate::sink) fn refused(&self, _: Option<&Arc<str>>, _: &Error) {}

    pub(in crate::sink) fn caller(&self) -> Caller {
        Caller(())
    }

    pub(in crate::sink) fn abandoned(&self, _: Option<&Arc<str>>, _: Option<Instant>, _: &Caller) {}

    pub(in crate::sink) fn batch(&self) -> Batch {
        Batch(())
    }

    pub(in crate::sink) fn begun(&self) {}

    pub(in crate::sink) fn committing(&self) {}

    pub(in crate::sink) fn committed(&self, _: &Result<()>) {}

    pub(in crate::sink) fn aborting(&self) {}

    pub(in crate::sink) fn aborted(&self, _: &Result<()>) {}
}

#[derive(Debug, Default)]
pub(in crate::sink) struct Caller(());

impl Caller {
    #[allow(clippy::unused_self)] // same signature as with the feature
    pub(in crate::sink) fn attach(&self) -> Current {
        Current(())
    }
}

#[derive(Debug)]
pub(in crate::sink) struct Batch(());

impl Batch {
    pub(in crate::sink) fn attach(&self) -> Current {
        Current(())
    }

    #[allow(clippy::unused_self)] // same signature as with the feature
    pub(in crate::sink) fn abandoned(&self, _: Option<&Arc<str>>) {}

    pub(in crate::sink) fn finish(self, _: &[Result<Delivery>]) {}
}

pub(in crate::sink) struct Current(());
