//! A cheap snapshot of what was sent: [`Metrics`] counts, [`SinkMetrics`] says.
//!
//! | layer | over | counts |
//! |---|---|---|
//! | [`MetricsLayer`] | any request with a [`Delivery`](kafka_tower_core::Delivery) for an answer | sends, latency, the last error |
//! | [`CountBytesLayer`] | records | the bytes of those that were delivered |
//!
//! Retries and trips of a breaker are recorded by those who make them: [`Metrics::record_retry`],
//! [`Metrics::record_trip`].
//!
//! # What counts
//!
//! Each send counts once, as the answer that its caller got: in `messages_sent`, in `messages_failed` or, if the
//! future was dropped before the answer, in `abandoned`. What becomes of a record after a time-out, or after its
//! future was dropped, changes nothing any more. A send that never was called, for want of readiness, is not seen here.
//!
//! Latency is the time from call to answer of the sends that were **delivered**: a breaker that refuses in a
//! microsecond would make an outage look fast. Waiting for readiness is not part of it; waiting for room after the
//! call, retries and back-off are. The clock is tokio's.
//!
//! # Place in the stack
//!
//! `MetricsLayer` outermost, around the typed message, so that it sees what the caller sees: one send, whatever is
//! retried, refused or not encoded below. `CountBytesLayer` just inside of `serialize` and outside of
//! retry, so that a record counts once. Its bytes are keys, values and headers, as they are before compression.
//!
//! # Cost
//!
//! A delivered send reads the clock twice and adds to two counters, or three with its bytes; nothing is allocated or
//! locked. A failure keeps a copy of its error under a lock of its own.
//!
//! # Order, cancellation, errors
//!
//! `call` calls the service below at once: call order stays log order. Dropping a future does what it does in that
//! service, and counts. Errors pass through, as an [`Error`](kafka_tower_core::Error) of ours; a readiness error is
//! none of a send and is not counted.
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
mod recorder;
mod service;
mod snapshot;

pub use future::{CountBytesFuture, MeasureFuture};
pub use layer::{CountBytesLayer, MetricsLayer};
pub use recorder::Metrics;
pub use service::{CountBytes, Measure};
pub use snapshot::SinkMetrics;
