//! Picks the partition of records: `Service<Record>` over `Service<Record>`.
//!
//! | [strategy](PartitionStrategy) | partition of a record that names none |
//! |---|---|
//! | `KeyHash` (default) | chosen by the transport: the key's partition by Java's murmur2; without a key, the transport's choice |
//! | `RoundRobin` | the next one in turn, with or without a key |
//! | `Single(p)` | partition `p` |
//! | `Custom` | the result of the [`Partitioner`]; without one, as `KeyHash` |
//!
//! A record that names its partition goes there, whatever the strategy.
//!
//! `RoundRobin` and `Single` ignore the key: records of one key keep their order only within a partition.
//!
//! # Why `KeyHash` computes nothing
//!
//! A transport maps a key by murmur2 to one of the partitions that it knows *when it sends*. A partition computed
//! here would be fixed before the record waits for room. If partitions were added meanwhile, it would differ from the
//! partition of the key's next records, and a retry would keep it. Therefore only the transport maps keys.
//!
//! # Partition counts
//!
//! `RoundRobin` and a `Partitioner` need the number of partitions. They use what the transport already knows
//! ([`Control::partition_count`](kafka_tower_core::Control::partition_count)) and never wait for it. While the number
//! is unknown, the transport chooses the partition and the round-robin position does not advance.
//!
//! # Place in the stack
//!
//! Inside of `serialize`, where requests are records with keys; outside of retry, so that all attempts of a record go
//! to one partition.
//!
//! # Order, cancellation
//!
//! `call` decides and calls the service below at once: call order stays log order. The response future is the one of
//! the service below.
//!
//! # Errors
//!
//! This layer adds none. If a partition does not exist, the transport refuses the record with a typed error that is
//! [`NotPersisted`](kafka_tower_core::Persistence::NotPersisted), also if a strategy or a `Partitioner` chose it. A
//! panic of a `Partitioner` reaches the caller: nothing was sent, and all handles remain usable.
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
mod picker;
mod positions;
mod service;
mod strategy;

pub use layer::PartitionLayer;
pub use partitioner::{PartitionCounts, Partitioner};
pub use service::Partition;
pub use strategy::PartitionStrategy;
