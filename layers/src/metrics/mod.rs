//! Metrics of sends: [`Metrics`] counts, [`SinkMetrics`] is a snapshot, and [`Rates`] are what happened per second between two
//! of them.
//!
//! | layer | over | counts |
//! |---|---|---|
//! | [`MetricsLayer`] | any request whose response is a [`Delivery`](kafka_tower_core::Delivery) | sends, latency, the last error |
//! | [`CountBytesLayer`] | records | bytes of delivered records |
//! | [`TopicMetricsLayer`], which no stack has by default | records | sends and bytes for each topic |
//!
//! The code that retries or trips a breaker records it: [`Metrics::record_retry`], [`Metrics::record_trip`].
//!
//! # What counts
//!
//! Each send counts once, by the result that its caller got: in `messages_sent`, in `messages_failed` or, if the
//! future was dropped before it resolved, in `abandoned`. The fate of a record after a time-out or after its future
//! was dropped changes nothing. A send that was never called because the service was not ready is not counted here.
//!
//! Latency is the time from call to result of **delivered** sends: counting the microseconds of a breaker's rejection
//! would make an outage look fast. It includes waiting for room after the call, retries and back-off, but not waiting
//! for readiness. The clock is tokio's.
//!
//! # Place in the stack
//!
//! `MetricsLayer` is outermost, around the typed message, so that it sees what the caller sees: one send, whatever is
//! retried, refused or not encoded below. `CountBytesLayer` is just inside of `serialize` and outside of retry, so
//! that a record counts once. It counts the bytes of keys, values and headers before compression.
//!
//! # Cost
//!
//! A delivered send reads the clock twice and increments two counters, or three with its bytes, without allocation or
//! lock. A handle counts in memory of the thread that cloned it: threads that send do not contend if each clones its own. A
//! failure stores a copy of its error under a lock. Rates cost a send nothing: they are computed from two snapshots.
//!
//! A sink counts the same without this layer, and for `send` with one look at the clock less.
//!
//! A stack with `TopicMetricsLayer` looks a topic up in a map under a read lock, unless the handle's last record had the same
//! one, as all messages of a sink do that name no topic.
//!
//! # Order, cancellation, errors
//!
//! `call` calls the service below at once: call order stays log order. Dropping a future drops the future below, and
//! counts. Errors pass through, converted to [`Error`](kafka_tower_core::Error). A readiness error belongs to no send
//! and is not counted.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use std::time::Duration;
//! use kafka_tower_core::SinkMessage;
//! use kafka_tower_layers::metrics::{Metrics, MetricsLayer};
//! use kafka_tower_layers::serialize::SerializeLayer;
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! kafka.script().delay(Duration::from_millis(7));
//! kafka.script().after(1).lose_answer();
//!
//! let metrics = Metrics::new();
//! let mut orders = ServiceBuilder::new()
//!     .layer(MetricsLayer::new(metrics.clone()))
//!     .layer(SerializeLayer::json("orders"))
//!     .layer(metrics.bytes_layer())
//!     .service(kafka.transport());
//!
//! orders.ready().await?.call(SinkMessage::new("first")).await?;
//! orders.ready().await?.call(SinkMessage::new("second")).await.unwrap_err();
//!
//! let metrics = metrics.snapshot();
//! assert_eq!((metrics.messages_sent, metrics.messages_failed), (1, 1));
//! assert_eq!(metrics.bytes_sent, 7); // "first" in JSON
//! assert_eq!(metrics.avg_latency_us, 7_000);
//! assert_eq!(metrics.last_error_msg.unwrap(), "no answer from orders[1]");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! ```

mod buckets;
mod future;
mod layer;
mod rates;
mod recorder;
mod service;
mod shard;
mod snapshot;
mod topics;

pub use future::{CountBytesFuture, MeteredFuture};
pub use layer::{CountBytesLayer, MetricsLayer};
pub use rates::Rates;
pub use recorder::Metrics;
pub use service::{CountBytes, Metered};
#[doc(hidden)]
pub use shard::Shard as MetricsShard;
pub use snapshot::SinkMetrics;
pub use topics::{CountTopics, CountTopicsFuture, TopicCounts, TopicMetrics, TopicMetricsLayer};
