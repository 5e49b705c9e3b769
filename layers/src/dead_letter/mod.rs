//! Sends records that could not be handled to a dead letter topic: `Service<FailedRecord>` over `Service<Record>`.
//!
//! A dead letter has the key, the value and the headers of the original record, byte for byte, and headers that say where it
//! comes from and why it failed. It goes to the topic `{topic}.dlq` (`{topic}-dlt` with [`DeadLetterStyle::Spring`]), or to
//! [the one that you name](DeadLetterLayer::topic), into the partition of the original record. If that topic does not have
//! the partition, its key chooses one. It has the time of its own send.
//!
//! # Headers
//!
//! | [`Own`](DeadLetterStyle::Own): `kafka-tower-dlq-…` | [`Spring`](DeadLetterStyle::Spring): `kafka_dlt-…` | [`Connect`](DeadLetterStyle::Connect): `__connect.errors.…` |
//! |---|---|---|
//! | `topic` | `original-topic` | `topic` |
//! | `partition` | `original-partition`: 4 bytes | `partition` |
//! | `offset` | `original-offset`: 8 bytes | `offset` |
//! | `timestamp`: milliseconds since 1970, if the record has one | `original-timestamp`: 8 bytes, -1 for none; `original-timestamp-type`: `CreateTime`, `LogAppendTime`, or `NoTimestampType` for none | |
//! | `group` | `original-consumer-group` | `connector.name`: the group |
//! | `attempts` | | |
//! | `error` | `exception-fqcn` | `exception.class.name` |
//! | `reason` | `exception-message` | `exception.message` |
//!
//! Values are text, Spring's integers big-endian. A record that is dead-lettered again gets the headers again, and the last
//! ones count; Spring's two `exception-…` headers are replaced. Names and formats are those that spring-kafka's
//! `DeadLetterPublishingRecoverer` and Kafka Connect's `DeadLetterQueueReporter` write. (Connect keeps the first headers.)
//!
//! The error and the reason are what [`FailedRecord`] contains. A source writes its own texts, and never the contents of a
//! record or the text of a foreign error, which may contain some.
//!
//! # Loops
//!
//! A record of a dead letter topic is not dead-lettered, nor is one that was dead-lettered
//! [`max_hops`](DeadLetterLayer::max_hops) times before, in whatever style: the call fails with
//! [`ErrorKind::Refused`](kafka_tower_core::ErrorKind::Refused).
//!
//! # Place in the stack
//!
//! Outside of all layers over records. A [`KafkaSink<Bytes>`](https://docs.rs/kafka-tower) with
//! [`BytesSerializer`](crate::serialize::BytesSerializer) can be the service below, with
//! [`SinkMessage::from_record`](kafka_tower_core::SinkMessage::from_record) between.
//!
//! # Cancellation
//!
//! Dropping the future makes no further attempt. A transport continues with a record that it has.
//!
//! # Errors
//!
//! Those of the service below, and `Refused`. `Ok` means that the service below has answered `Ok`: over a transport, that the
//! dead letter is delivered. After an error do not skip the record: its topic may be the only one that has it.
//!
//! The provenance adds about 300 bytes. If a record is as large as its topic permits, the dead letter topic has to permit more.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::RawRecord;
//! use kafka_tower_layers::dead_letter::{DeadLetterLayer, FailedRecord};
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders.dlq", 3);
//! let letters = ServiceBuilder::new().layer(DeadLetterLayer::default()).service(kafka.transport());
//!
//! let mut record = RawRecord::new("orders", 2, 17);
//! record.value = Some("not an order".into());
//! letters.oneshot(FailedRecord::new(record, "Decode", "the record could not be decoded")).await?;
//!
//! let letter = &kafka.records("orders.dlq")[0];
//! assert_eq!(letter.partition, 2);
//! assert_eq!(letter.value().unwrap(), "not an order");
//! assert_eq!(letter.record.headers.get("kafka-tower-dlq-offset").unwrap(), "17");
//! # Ok(())
//! # }
//! ```

mod decide;
mod failed;
mod future;
mod layer;
mod provenance;
mod service;

#[doc(hidden)] // only a source calls it
pub use decide::lacks_partition;
pub use failed::FailedRecord;
pub use future::DeadLetterFuture;
pub use layer::DeadLetterLayer;
pub use provenance::DeadLetterStyle;
pub use service::DeadLetter;
