//! Counts sends with the [`metrics`](https://docs.rs/metrics) crate, for applications whose recorder is one of its.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `kafka_tower_messages_total` | counter | `topic`, `outcome`: `delivered`, `failed`, `abandoned`; `error_type` of what failed |
//! | `kafka_tower_send_duration_seconds` | histogram | the same |
//! | `kafka_tower_retries_total` | counter | `topic`, `error_type` |
//! | `kafka_tower_circuit_breaker_state` | gauge: 0 closed, 1 half-open, 2 open | `topic` |
//! | `kafka_tower_circuit_breaker_transitions_total` | counter | `topic`, `state` |
//!
//! The first hundred topics have a label of their own, later ones share `_other`. Keys are no label.
//!
//! Install the recorder first: what a layer counts with is taken from it when the layer is made, and for other topics when
//! the first message goes there.
//!
//! # Place in the stack
//!
//! Outermost, around the typed message, as the `telemetry` layer, which says more where OpenTelemetry is at hand.
//!
//! # Cancellation
//!
//! A future that is dropped before its answer counts as `abandoned`. What dropping does to the record is the service's below.
//!
//! # Errors
//!
//! Those of the service below, as an [`Error`](kafka_tower_core::Error) of ours.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::Record;
//! use kafka_tower_layers::metrics_facade::FacadeLayer;
//! use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! // After `metrics::set_global_recorder(..)`.
//! let facade = FacadeLayer::new("orders");
//! let kafka = MemoryKafka::new().with_topic("orders", 1);
//! let orders = ServiceBuilder::new()
//!     .layer(facade.clone())
//!     .layer(RetryLayer::new(RetryPolicy::new()).on_retry(facade.on_retry()))
//!     .service(kafka.transport());
//! orders.oneshot(Record::new("orders")).await?;
//! # Ok(())
//! # }
//! ```

mod counters;
mod future;
mod hooks;
mod layer;
mod service;

pub use future::FacadeFuture;
pub use layer::FacadeLayer;
pub use service::Facade;
