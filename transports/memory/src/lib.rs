//! Deterministic in-memory Kafka, to test stacks of kafka-tower without a broker.
//!
//! [`MemoryKafka`] is the broker: it creates topics, shows the written records, and takes a script of faults.
//! [`MemoryTransport`] is a producer, a [`Transport`](kafka_tower_core::Transport) that keeps the same laws as the
//! real one: the same [`Gate`](kafka_tower_core::gate), the same [`Control`](kafka_tower_core::Control), the same
//! murmur2.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//! use kafka_tower_core::{Persistence, Record};
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{Service, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 3);
//! kafka.script().after(1).lose_answer();
//! let mut transport = kafka.transport();
//! let control = transport.control();
//!
//! let order = Record::new("orders").with_key("42").with_value("first");
//! let delivery = transport.ready().await.unwrap().call(order.clone()).await.unwrap();
//! assert_eq!(delivery.offset, Some(0));
//!
//! // The answer is lost: the caller cannot know the outcome, the log shows it.
//! let error = transport.ready().await.unwrap().call(order.with_value("second")).await.unwrap_err();
//! assert_eq!(error.persistence(), Persistence::PossiblyPersisted);
//! assert_eq!(kafka.partition("orders", delivery.partition)[1].value().unwrap(), "second");
//!
//! assert!(control.close(Duration::from_secs(1)).await.unwrap().is_complete());
//! # }
//! ```
//!
//! # Order
//!
//! `call` appends the record before it returns, unless the record is parked because there is no room or the script
//! holds the append: call order is log order. Answers of a partition arrive in order, as on one connection: an answer
//! that is held or delayed holds back those behind it. Partitions do not wait for each other.
//!
//! The partition is the record's own, otherwise its key's by Java's murmur2, otherwise round robin from 0, per
//! transport and topic.
//!
//! Each record is a batch of its own and is sent once, unless [`MemoryKafka::producer`] creates a producer that sends
//! [batches](Producer::batches) or [retries by itself](Producer::retries).
//!
//! # Transactions
//!
//! [`MemoryKafka::transactional_transport`] creates a producer whose
//! [control](kafka_tower_core::Control::transactions) begins and ends transactions. The broker follows Kafka's rules:
//!
//! - `init` fences older producers with the same id and aborts the transactions that they left open.
//! - Transaction markers take offsets.
//! - `read_committed` consumers ([`MemoryKafka::committed`]) see no record of an aborted transaction and no record
//!   behind the first open one.
//! - A transaction that stays open longer than the producer's time-out is aborted, and the producer is fenced.
//! - Consumer offsets take effect with the commit.
//!
//! The protocol is the one that librdkafka speaks, so a late end can hit the next transaction (KAFKA-17754):
//! [`TransactionRule::hold`] produces one.
//!
//! # Faults
//!
//! [`MemoryKafka::script`] and [`MemoryKafka::script_transactions`] set what happens to selected records or requests.
//! [`MemoryKafka::outage`] and [`MemoryKafka::move_leader`] are shortcuts for common faults.
//! [`MemoryKafka::seed_faults`] draws faults from a seed. `sim` (feature `sim`) runs a stack under many such
//! faults and reports whether it keeps its guarantee.
//!
//! # Consumers
//!
//! [`MemoryKafka::consumer`] joins a consumer group, with assignments, committed offsets, generations and the classic
//! rebalance, which waits for each member to give up all its partitions. The cooperative one and that of KIP-848 are not
//! implemented.
//!
//! [`MemoryKafka`] is also the transport of a source
//! ([`ConsumerTransport`](kafka_tower_core::ConsumerTransport)), with the same groups:
//! [`start_rebalance`](MemoryKafka::start_rebalance) and [`expel_members`](MemoryKafka::expel_members) move partitions on
//! command, and [`next_commit`](MemoryKafka::next_commit) makes commits fail.
//!
//! # Time
//!
//! Only tokio's clock is used, so a paused clock makes a run repeatable. Without a script, every record is settled
//! inside `call`, without a task or a timer, also outside a runtime. Delays, and deadlines that have to be waited
//! for, need a runtime. If the runtime ends before a delay does, the record's future resolves with an error.
//!
//! # Cancellation
//!
//! Dropping a response future cancels nothing: the record continues, and its report returns the room. Dropping the
//! last handle (a [`MemoryTransport`] or its control) cancels nothing either, but logs a warning. It aborts an open
//! transaction.
//!
//! # Errors
//!
//! | when | [kind](kafka_tower_core::ErrorKind), persistence |
//! |---|---|
//! | the record is malformed | `InvalidRecord`, not persisted |
//! | larger than the transport's limit or the topic's | `RecordTooLarge`, not persisted |
//! | its timestamp is more than an hour ahead | `Rejected`, not persisted |
//! | no such topic or partition | `UnknownTopicOrPartition`, not persisted |
//! | its deadline passed while it was parked | `Timeout`, not persisted |
//! | its deadline passed while it was in flight | `Timeout`, possibly persisted |
//! | called after `close`, or still parked when the close gave up | `Closed`, not persisted |
//! | in flight when the close gave up | `Timeout`, possibly persisted |
//! | a transaction call in the wrong state | `Transaction` with recovery `Reject`, not persisted |
//! | a record or a commit after a record of the transaction failed | `Transaction` with recovery `AbortTransaction`, not persisted |
//! | `commit` or `abort` without an answer in time | `Timeout` with recovery `Retry`, possibly persisted |
//! | another producer acquired the transactional id, or the transaction timed out | `Fenced`, not persisted; possibly persisted for a commit that was requested before |
//! | the broker has no such transaction (a late end has ended it) | `Transaction` with recovery `Fatal`, possibly persisted |
//! | scripted | as scripted |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod broker;
mod client;
mod consumer;
mod control;
mod deadlines;
mod errors;
mod faults;
mod future;
mod groups;
mod handle;
mod log;
mod outage;
mod owner;
mod partition_queue;
mod producer;
mod readers;
mod resend;
mod rule;
mod script;
#[cfg(feature = "sim")]
#[cfg_attr(docsrs, doc(cfg(feature = "sim")))]
pub mod sim;
mod source;
mod store;
mod transaction;
mod transport;
mod waits;

pub use broker::EPOCH;
pub use consumer::{ConsumerEvent, MemoryConsumer};
pub use faults::{Fault, FaultKind, FaultPlace, Faults};
pub use future::MemoryDeliveryFuture;
pub use handle::MemoryKafka;
pub use log::{Marker, StoredRecord};
pub use outage::Outage;
pub use producer::{DEFAULT_LIMITS, Producer};
pub use rule::{Hold, Rule, Scripted};
#[cfg(feature = "sim")]
#[cfg_attr(docsrs, doc(cfg(feature = "sim")))]
#[doc(no_inline)]
pub use sim::check;
pub use source::CommitFault;
pub use transaction::rule::{ScriptedTransaction, TransactionHold, TransactionRule};
pub use transaction::script::TransactionCall;
pub use transport::MemoryTransport;
