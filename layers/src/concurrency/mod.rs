//! Limits how many calls are under way at a time: tower's own limit, with its warnings.
//!
//! **In the default stack the transport's gate is the limit**, exact in records and in bytes. This layer is for foreign
//! transports that have none, and for services that do something else than send records.
//!
//! # Warning
//!
//! tower's limit takes a permit in `poll_ready` and frees it with the response future. Over a
//! [`Transport`](kafka_tower_core::Transport) both are against its laws:
//!
//! * A future that is dropped frees its permit while its record is still on its way (law 2): callers who give up, as
//!   with a time-out, let more records under way than the limit says.
//! * A handle that became ready and does not call keeps its permit (law 3): with as many idle handles as permits,
//!   nobody sends. A handle gives its permit back when it is dropped, not when it is cloned.
//! * It counts records, not bytes.
//!
//! # Place in the stack
//!
//! Directly above the service that it is to spare. Inside of retry: a record that backs off then holds no permit.
//!
//! # Order
//!
//! Who waits for a permit gets it in the order of asking.
//!
//! # Errors
//!
//! None of its own.
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
