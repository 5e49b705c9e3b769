//! Concurrency limit: wraps tower's own limit, and documents its hazards.
//!
//! **In the default stack the transport's gate is the limit**, exact in records and in bytes. This layer is for
//! foreign transports without one, and for services that do something other than sending records.
//!
//! # Warning
//!
//! tower's limit takes a permit in `poll_ready` and releases it when the response future ends. Over a
//! [`Transport`](kafka_tower_core::Transport) both conflict with its laws:
//!
//! * A dropped future releases its permit while its record is still in flight (law 2): callers that give up, for
//!   example at a time-out, let more records into flight than the limit says.
//! * A handle that is ready and does not call keeps its permit (law 3): with as many idle handles as permits, all
//!   sends wait for ever. A handle releases its permit when it is dropped, not when it is cloned.
//! * It counts records, not bytes.
//!
//! # Place in the stack
//!
//! Directly above the service that it protects, and inside of retry, so that a record that backs off holds no permit.
//!
//! # Order
//!
//! Permits are granted in the order of the requests.
//!
//! # Errors
//!
//! This layer adds none.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::Record;
//! use kafka_tower_layers::concurrency::ConcurrencyLayer;
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! let service = ServiceBuilder::new().layer(ConcurrencyLayer::new(64)).service(kafka.transport());
//! service.oneshot(Record::new("orders").with_value("first")).await?;
//! # Ok(())
//! # }
//! ```

mod layer;

pub use layer::ConcurrencyLayer;
pub use tower::limit::ConcurrencyLimit;
