//! Telemetry of a sink, if it was given a [`Telemetry`](crate::telemetry::Telemetry) (feature `opentelemetry`). Without
//! the feature there is no value of its types, and the same calls do nothing.
#![cfg_attr(
    not(feature = "opentelemetry"),
    allow(dead_code, unused_imports, unused_variables, clippy::unused_self, clippy::needless_pass_by_value)
)]

mod transactions;

#[cfg(not(feature = "opentelemetry"))]
use std::convert::{
    Infallible as BatchSpan, Infallible as Context, Infallible as ContextGuard, Infallible as TelemetryLayer,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::{Control, Delivery, Error, Result, SinkMessage, TransactionEnd};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::retry::RetryLayer;
#[cfg(feature = "opentelemetry")]
use kafka_tower_layers::telemetry::{BatchSpan, TelemetryLayer};
use kafka_tower_layers::transaction_batch::TransactionBatchLayer;
#[cfg(feature = "rdkafka")]
use kafka_tower_rdkafka::RdkafkaBuilder;
#[cfg(feature = "opentelemetry")]
use opentelemetry::{Context, ContextGuard};
use tower_layer::Layer;
use tower_service::Service;

use super::boxed::{self, DynStack};
use super::deadline;
#[cfg(feature = "rdkafka")]
use crate::KafkaSinkConfig;
use crate::optional::{TelemetrySetting, with};

pub(super) use self::transactions::{TracedTransactions, no_transactions, transactions};

impl TelemetrySetting {
    pub(super) fn of_topic(&self, topic: &str) -> SinkTelemetry {
        SinkTelemetry(with!(&self.0, |telemetry| Some(telemetry.layer(topic)), else None))
    }

    #[cfg(feature = "rdkafka")]
    pub(super) fn statistics(&self, config: &KafkaSinkConfig, builder: RdkafkaBuilder) -> RdkafkaBuilder {
        if config.properties.get("statistics.interval.ms").is_none_or(|every| every == "0") {
            return builder;
        }
        with!(&self.0, |telemetry| builder.events(crate::telemetry::statistics::Late::new(telemetry)), else {
            if cfg!(feature = "opentelemetry") {
                tracing::warn!(
                    "\"statistics.interval.ms\" is set, and the sink has no Telemetry that would record the \
                     statistics: set one with SinkBuilder::telemetry, or remove the property"
                );
            } else {
                tracing::warn!(
                    "\"statistics.interval.ms\" is set, and nothing records the statistics: enable the cargo feature \
                     `opentelemetry` of kafka-tower and give the sink a Telemetry, or remove the property"
                );
            }
            builder
        })
    }
}

/// The sink's telemetry layer, if any.
#[derive(Clone, Debug, Default)]
pub(super) struct SinkTelemetry(Option<TelemetryLayer>);

impl SinkTelemetry {
    /// Wraps the stack in the telemetry layer, if any, and erases its type. Without a layer the type stays as it was.
    pub(super) fn erase<T, S>(&self, stack: S) -> Box<dyn DynStack<T>>
    where
        T: 'static,
        S: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        with!(&self.0, |layer| boxed::erase(layer.layer(stack)), else boxed::erase(stack))
    }

    pub(super) fn retries(&self, retry: RetryLayer) -> RetryLayer {
        with!(&self.0, |layer| retry.on_retry(layer.on_retry()), else retry)
    }

    pub(super) fn shared_transactions(&self, layer: TransactionBatchLayer) -> TransactionBatchLayer {
        with!(&self.0, |telemetry| layer.on_transaction(telemetry.on_transaction()), else layer)
    }

    pub(super) fn watch(&self, breaker: Option<&CircuitBreakerHandle>, control: &Arc<dyn Control>) {
        with!(&self.0, |layer| {
            if let Some(breaker) = breaker {
                layer.watch_breaker(breaker);
            }
            layer.telemetry().watch(control);
        });
    }

    /// Records a wait for room, for this topic or the sink's.
    pub(super) fn waited(&self, topic: Option<&Arc<str>>, since: Instant) {
        with!(&self.0, |layer| layer.record_wait(topic, passed(Some(since))));
    }

    /// Records a send that ended without reaching the stack.
    pub(super) fn refused(&self, topic: Option<&Arc<str>>, error: &Error) {
        with!(&self.0, |layer| layer.record_refused(topic, error.elapsed().unwrap_or_default(), error));
    }

    /// The trace context of the task that polls now.
    pub(super) fn caller(&self) -> CallerContext {
        CallerContext(with!(&self.0, |_layer| Some(Context::current()), else None))
    }

    /// Records a send that was dropped while it waited for room.
    pub(super) fn abandoned(&self, topic: Option<&Arc<str>>, since: Option<Instant>, caller: &CallerContext) {
        with!(&self.0, |layer| with!(&caller.0, |caller| layer.record_abandoned(topic, passed(since), caller)));
    }

    pub(super) fn batch(&self) -> BatchTelemetry {
        BatchTelemetry(with!(&self.0, |layer| Some(layer.batch()), else None))
    }

    pub(super) fn begun(&self) {
        with!(&self.0, |layer| layer.transactions().begun());
    }

    pub(super) fn committing(&self) {
        with!(&self.0, |layer| layer.transactions().committing());
    }

    pub(super) fn committed(&self, result: &Result<()>) {
        with!(&self.0, |layer| layer.transactions().committed(result));
    }

    /// Records how the close of the transport ended the open transaction.
    pub(super) fn ended(&self, end: &TransactionEnd) {
        with!(&self.0, |layer| layer.transactions().ended(end));
    }

    pub(super) fn aborting(&self) {
        with!(&self.0, |layer| layer.transactions().aborting());
    }

    pub(super) fn aborted(&self, result: &Result<()>) {
        with!(&self.0, |layer| layer.transactions().aborted(result));
    }
}

fn passed(since: Option<Instant>) -> Duration {
    since.map(|since| deadline::now().saturating_duration_since(since)).unwrap_or_default()
}

/// Trace context of the caller, if the sink has telemetry.
#[derive(Debug, Default)]
pub(super) struct CallerContext(Option<Context>);

impl CallerContext {
    /// Makes the context current again until the guard is dropped, in the same poll.
    pub(super) fn attach(&self) -> Option<ContextGuard> {
        with!(&self.0, |context| Some(context.clone().attach()), else None)
    }
}

/// Span of a batch, if the sink has telemetry.
#[derive(Debug)]
pub(super) struct BatchTelemetry(Option<BatchSpan>);

impl BatchTelemetry {
    /// Sends belong to the batch until the guard is dropped, in the same poll.
    pub(super) fn attach(&self) -> Option<ContextGuard> {
        with!(&self.0, |batch| batch.attach(), else None)
    }

    /// Records the waiting message of a batch that was dropped.
    pub(super) fn abandoned(&self, topic: Option<&Arc<str>>) {
        with!(&self.0, |batch| batch.record_abandoned(topic));
    }

    pub(super) fn finish(self, results: &[Result<Delivery>]) {
        with!(self.0, |batch| batch.finish(results));
    }
}
