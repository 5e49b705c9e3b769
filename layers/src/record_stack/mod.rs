//! Partition, circuit breaker, retry and the byte counter in one service: `Service<Record>` over `Service<Record>`.
//!
//! A sink uses it below the serializer. It does what these layers do one around the other, and decides with the same pure
//! functions; but a send has one future in place of four, and one reference count:
//!
//! ```text
//! metrics.bytes_layer() > PartitionLayer > CircuitBreakerLayer > RetryLayer
//! ```
//!
//! For another order, or with a layer of your own between them, compose the layers.
//!
//! # Place in the stack
//!
//! Between the serializer and the transport. The [modules](crate) of the layers say why each is where it is.
//!
//! # Order, cancellation, errors
//!
//! Those of the [circuit breaker](crate::circuit_breaker) over the [retry layer](crate::retry).
//!
//! # Cost
//!
//! No allocation and no lock for a delivered record, if its errors give it back
//! ([`RetryLayer::keep_records`](crate::retry::RetryLayer::keep_records)); otherwise one allocation for the copy.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::{Error, ErrorKind, Persistence, Record};
//! use kafka_tower_layers::circuit_breaker::CircuitBreakerLayer;
//! use kafka_tower_layers::metrics::Metrics;
//! use kafka_tower_layers::partition::{PartitionLayer, PartitionStrategy};
//! use kafka_tower_layers::record_stack::RecordStackLayer;
//! use kafka_tower_layers::retry::RetryLayer;
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! let no_leader = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
//! kafka.script().times(2).fail(no_leader);
//!
//! let (transport, metrics) = (kafka.transport(), Metrics::new());
//! let partition = PartitionLayer::new(PartitionStrategy::RoundRobin, transport.control());
//! let layer = RecordStackLayer::new(
//!     partition,
//!     CircuitBreakerLayer::default(),
//!     RetryLayer::default().keep_records(false),
//!     metrics.clone(),
//! );
//! let service = ServiceBuilder::new().layer(layer).service(transport);
//!
//! service.oneshot(Record::new("orders").with_value("first")).await?;
//! assert_eq!((kafka.len("orders"), metrics.snapshot().bytes_sent), (1, 5));
//! # Ok(())
//! # }
//! ```

mod future;
mod layer;
mod service;

pub use future::RecordStackFuture;
pub use layer::RecordStackLayer;
pub use service::RecordStack;
