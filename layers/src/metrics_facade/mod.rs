//! Counts sends with the [`metrics`](https://docs.rs/metrics) crate, for applications that use one of its recorders.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `kafka_tower_messages_total` | counter | `topic`, `outcome`: `delivered`, `failed`, `abandoned`; `error_type` if it failed |
//! | `kafka_tower_send_duration_seconds` | histogram | as above |
//! | `kafka_tower_retries_total` | counter | `topic`, `error_type` |
//! | `kafka_tower_circuit_breaker_state` | gauge: 0 closed, 1 half-open, 2 open | `topic` |
//! | `kafka_tower_circuit_breaker_transitions_total` | counter | `topic`, `state` |
//!
//! The first 100 topics have a label of their own; later ones share `_other`. Keys are not used as labels.
//!
//! Install the recorder first: sends before that are not counted.
//!
//! # Place in the stack
//!
//! Outermost, around the typed message, as the `telemetry` layer. Prefer that one where OpenTelemetry is available:
//! it reports more.
//!
//! # Cancellation
//!
//! A future that is dropped before it resolves counts as `abandoned`. The service below decides what happens to the
//! record.
//!
//! # Errors
//!
//! Those of the service below, converted to [`Error`](kafka_tower_core::Error).
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::Record;
//! use kafka_tower_layers::metrics_facade::MetricsFacadeLayer;
//! use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! // After `metrics::set_global_recorder(..)`.
//! let facade = MetricsFacadeLayer::new("orders");
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

pub use future::MetricsFacadeFuture;
pub use layer::MetricsFacadeLayer;
pub use service::MetricsFacade;
