//! Which partition a record goes to: `Service<Record>` over `Service<Record>`.
//!
//! | [strategy](PartitionStrategy) | a record without a partition of its own |
//! |---|---|
//! | `KeyHash` (default) | is left to the transport: its key's partition by Java's murmur2, without a key one of its choice |
//! | `RoundRobin` | the next in turn, with or without a key |
//! | `Single(p)` | partition `p` |
//! | `Custom` | what the [`Partitioner`] says; without one, as `KeyHash` |
//!
//! A record that names its partition goes there, whatever the strategy.
//!
//! `RoundRobin` and `Single` look at no key: records of one key keep their order only as far as they share a partition.
//!
//! # Why `KeyHash` computes nothing
//!
//! A transport puts a key's record to the partition that murmur2 names among the partitions that it knows *when it
//! sends*. A partition that was computed here would be fixed before the record waits for room: with an older count, it
//! would be another than the one where the key's next records go after partitions were added, and a retry would keep
//! it. So the partition stays open, and one place decides.
//!
//! # Partition counts
//!
//! `RoundRobin` and a `Partitioner` need the number of partitions. They get what the transport knows already
//! ([`Control::partition_count`](kafka_tower_core::Control::partition_count)) and never wait for it. While it is not
//! known, the record is left to the transport and nobody's turn passes.
//!
//! # Place in the stack
//!
//! Inside of `serialize`, so that there is a record with its key; outside of retry, so that an
//! attempt goes where the one before it went.
//!
//! # Order, cancellation
//!
//! `call` decides and calls the service below at once: call order stays log order. The future is that service's own,
//! and dropping it does what it does there.
//!
//! # Errors
//!
//! None of its own. A partition that does not exist is refused by the transport, typed and
//! [`NotPersisted`](kafka_tower_core::Persistence::NotPersisted), also if a strategy or a `Partitioner` chose it. A
//! panic of a `Partitioner` is the caller's: nothing was sent, and all handles can be used after it.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::Record;
//! use kafka_tower_layers::partition::{PartitionLayer, PartitionStrategy};
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! let transport = kafka.transport();
//! let layer = PartitionLayer::new(PartitionStrategy::RoundRobin, transport.control());
//! let mut orders = ServiceBuilder::new().layer(layer).service(transport);
//!
//! for partition in [0, 1, 2, 0] {
//!     let delivery = orders.ready().await?.call(Record::new("orders").with_key("42")).await?;
//!     assert_eq!(delivery.partition, partition);
//! }
//! let named = Record::new("orders").with_partition(2);
//! assert_eq!(orders.ready().await?.call(named).await?.partition, 2);
//! # Ok(())
//! # }
//! ```

mod layer;
mod partitioner;
mod service;
mod strategy;
mod turns;

pub use layer::PartitionLayer;
pub use partitioner::{PartitionCounts, Partitioner};
pub use service::Partition;
pub use strategy::PartitionStrategy;
