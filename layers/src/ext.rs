//! Extension methods of tower's builder for the layers of this crate.

// Which imports are used depends on the features.
#![allow(unused_imports)]

use std::sync::Arc;

use tower::ServiceBuilder;
use tower_layer::Stack;

mod sealed {
    pub trait Sealed {}
    impl<L> Sealed for tower::ServiceBuilder<L> {}
}

/// Adds the layers of this crate to a [`ServiceBuilder`], next to tower's own and yours. The first method is the
/// outermost layer, as always with the builder.
///
/// To give a stack a type that can be named, use tower's `BoxCloneSyncService::new(stack)`, which is `Clone + Send + Sync` as
/// a sink requires. The builder's `boxed_clone_sync` needs a future that is `Sync`, which that of a serializer that waits is
/// not.
///
/// The builder itself has methods named `retry` and `concurrency_limit`, so the methods for `RetryLayer` and
/// `ConcurrencyLayer` are named `retry_deliveries` and `limit_concurrency`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> kafka_tower_core::Result<()> {
/// use kafka_tower_core::SinkMessage;
/// use kafka_tower_layers::KafkaServiceBuilderExt;
/// use kafka_tower_layers::circuit_breaker::CircuitBreakerLayer;
/// use kafka_tower_layers::metrics::Metrics;
/// use kafka_tower_layers::partition::PartitionStrategy;
/// use kafka_tower_layers::retry::RetryPolicy;
/// use kafka_tower_memory::MemoryKafka;
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3);
/// let transport = kafka.transport();
/// let (metrics, breaker) = (Metrics::new(), CircuitBreakerLayer::default());
/// let hand = breaker.handle();
///
/// let mut orders = ServiceBuilder::new()
///     .metered(metrics.clone())
///     .serialize_json("orders")
///     .partition(PartitionStrategy::RoundRobin, transport.control())
///     .circuit_breaker(breaker)
///     .retry_deliveries(RetryPolicy::new().max_retries(3))
///     .service(transport);
///
/// let delivery = orders.ready().await?.call(SinkMessage::new("first")).await?;
/// assert_eq!((delivery.partition, metrics.snapshot().messages_sent), (0, 1));
/// # let _ = hand;
/// # Ok(())
/// # }
/// ```
pub trait KafkaServiceBuilderExt<L>: sealed::Sealed + Sized {
    /// Encodes typed messages as records for `topic`, unless a message names its own topic.
    #[cfg(feature = "serialize")]
    fn serialize<T, F: crate::serialize::MessageSerializer<T> + ?Sized>(
        self,
        topic: impl Into<Arc<str>>,
        serializer: Arc<F>,
    ) -> ServiceBuilder<Stack<crate::serialize::SerializeLayer<T, F>, L>>;

    /// Encodes typed messages as JSON.
    #[cfg(feature = "json")]
    fn serialize_json<T: serde::Serialize + Send + Sync>(
        self,
        topic: impl Into<Arc<str>>,
    ) -> ServiceBuilder<Stack<crate::serialize::SerializeLayer<T, crate::serialize::JsonSerializer>, L>>;

    /// Chooses the partition of records that name none. `counts` is a transport's control handle.
    #[cfg(feature = "partition")]
    fn partition(
        self,
        strategy: crate::partition::PartitionStrategy,
        counts: impl crate::partition::PartitionCounts + 'static,
    ) -> ServiceBuilder<Stack<crate::partition::PartitionLayer, L>>;

    /// Rejects calls while Kafka is failing. Takes the layer, so that the caller can keep its handle.
    #[cfg(feature = "circuit-breaker")]
    fn circuit_breaker<C>(
        self,
        breaker: crate::circuit_breaker::CircuitBreakerLayer<C>,
    ) -> ServiceBuilder<Stack<crate::circuit_breaker::CircuitBreakerLayer<C>, L>>;

    /// Retries records that may be sent again.
    #[cfg(feature = "retry")]
    fn retry_deliveries(
        self,
        retry: impl Into<crate::retry::RetryLayer>,
    ) -> ServiceBuilder<Stack<crate::retry::RetryLayer, L>>;

    /// Counts sends and their latency.
    #[cfg(feature = "metrics")]
    fn metered(self, metrics: crate::metrics::Metrics) -> ServiceBuilder<Stack<crate::metrics::MetricsLayer, L>>;

    /// Counts the bytes of delivered records.
    #[cfg(feature = "metrics")]
    fn count_bytes(
        self,
        metrics: &crate::metrics::Metrics,
    ) -> ServiceBuilder<Stack<crate::metrics::CountBytesLayer, L>>;

    /// Sends records that could not be handled to a dead letter topic.
    #[cfg(feature = "dead-letter")]
    fn dead_letters(
        self,
        letters: crate::dead_letter::DeadLetterLayer,
    ) -> ServiceBuilder<Stack<crate::dead_letter::DeadLetterLayer, L>>;

    /// Limits the number of concurrent calls. See the [hazards](crate::concurrency) over a transport.
    #[cfg(feature = "concurrency")]
    fn limit_concurrency(
        self,
        limit: crate::concurrency::ConcurrencyLayer,
    ) -> ServiceBuilder<Stack<crate::concurrency::ConcurrencyLayer, L>>;

    /// Counts sends with the `metrics` crate. Takes the layer, so that breaker and retry can report to it too.
    #[cfg(feature = "metrics-facade")]
    fn metrics_facade(
        self,
        facade: crate::metrics_facade::MetricsFacadeLayer,
    ) -> ServiceBuilder<Stack<crate::metrics_facade::MetricsFacadeLayer, L>>;

    /// Traces and measures sends with OpenTelemetry. Takes the layer, so that breaker and retry can report to it too.
    #[cfg(feature = "telemetry")]
    fn telemetry(
        self,
        telemetry: crate::telemetry::TelemetryLayer,
    ) -> ServiceBuilder<Stack<crate::telemetry::TelemetryLayer, L>>;

    /// Sends the records of concurrent callers in shared transactions.
    #[cfg(feature = "transaction-batch")]
    fn transaction_batch(
        self,
        batch: crate::transaction_batch::TransactionBatchLayer,
    ) -> ServiceBuilder<Stack<crate::transaction_batch::TransactionBatchLayer, L>>;
}

impl<L> KafkaServiceBuilderExt<L> for ServiceBuilder<L> {
    #[cfg(feature = "serialize")]
    fn serialize<T, F: crate::serialize::MessageSerializer<T> + ?Sized>(
        self,
        topic: impl Into<Arc<str>>,
        serializer: Arc<F>,
    ) -> ServiceBuilder<Stack<crate::serialize::SerializeLayer<T, F>, L>> {
        self.layer(crate::serialize::SerializeLayer::new(topic, serializer))
    }

    #[cfg(feature = "json")]
    fn serialize_json<T: serde::Serialize + Send + Sync>(
        self,
        topic: impl Into<Arc<str>>,
    ) -> ServiceBuilder<Stack<crate::serialize::SerializeLayer<T, crate::serialize::JsonSerializer>, L>> {
        self.layer(crate::serialize::SerializeLayer::json(topic))
    }

    #[cfg(feature = "partition")]
    fn partition(
        self,
        strategy: crate::partition::PartitionStrategy,
        counts: impl crate::partition::PartitionCounts + 'static,
    ) -> ServiceBuilder<Stack<crate::partition::PartitionLayer, L>> {
        self.layer(crate::partition::PartitionLayer::new(strategy, counts))
    }

    #[cfg(feature = "circuit-breaker")]
    fn circuit_breaker<C>(
        self,
        breaker: crate::circuit_breaker::CircuitBreakerLayer<C>,
    ) -> ServiceBuilder<Stack<crate::circuit_breaker::CircuitBreakerLayer<C>, L>> {
        self.layer(breaker)
    }

    #[cfg(feature = "retry")]
    fn retry_deliveries(
        self,
        retry: impl Into<crate::retry::RetryLayer>,
    ) -> ServiceBuilder<Stack<crate::retry::RetryLayer, L>> {
        self.layer(retry.into())
    }

    #[cfg(feature = "metrics")]
    fn metered(self, metrics: crate::metrics::Metrics) -> ServiceBuilder<Stack<crate::metrics::MetricsLayer, L>> {
        self.layer(crate::metrics::MetricsLayer::new(metrics))
    }

    #[cfg(feature = "metrics")]
    fn count_bytes(
        self,
        metrics: &crate::metrics::Metrics,
    ) -> ServiceBuilder<Stack<crate::metrics::CountBytesLayer, L>> {
        self.layer(metrics.bytes_layer())
    }

    #[cfg(feature = "dead-letter")]
    fn dead_letters(
        self,
        letters: crate::dead_letter::DeadLetterLayer,
    ) -> ServiceBuilder<Stack<crate::dead_letter::DeadLetterLayer, L>> {
        self.layer(letters)
    }

    #[cfg(feature = "concurrency")]
    fn limit_concurrency(
        self,
        limit: crate::concurrency::ConcurrencyLayer,
    ) -> ServiceBuilder<Stack<crate::concurrency::ConcurrencyLayer, L>> {
        self.layer(limit)
    }

    #[cfg(feature = "metrics-facade")]
    fn metrics_facade(
        self,
        facade: crate::metrics_facade::MetricsFacadeLayer,
    ) -> ServiceBuilder<Stack<crate::metrics_facade::MetricsFacadeLayer, L>> {
        self.layer(facade)
    }

    #[cfg(feature = "telemetry")]
    fn telemetry(
        self,
        telemetry: crate::telemetry::TelemetryLayer,
    ) -> ServiceBuilder<Stack<crate::telemetry::TelemetryLayer, L>> {
        self.layer(telemetry)
    }

    #[cfg(feature = "transaction-batch")]
    fn transaction_batch(
        self,
        batch: crate::transaction_batch::TransactionBatchLayer,
    ) -> ServiceBuilder<Stack<crate::transaction_batch::TransactionBatchLayer, L>> {
        self.layer(batch)
    }
}
