//! A deterministic in-memory Kafka, to test stacks of kafka-tower without a broker.
//!
//! [`MemoryKafka`] is the broker: it makes topics, shows what was written, and takes a script of what is to go wrong.
//! [`MemoryTransport`] is a producer on it, a [`Transport`](kafka_tower_core::Transport) that keeps the same laws as
//! the real one: the same [`Gate`](kafka_tower_core::gate), the same [`Control`](kafka_tower_core::Control), the same
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
//! // The answer gets lost: the caller cannot know, the log does.
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
//! `call` appends before it returns, unless the record is parked for want of room or the script holds the append:
//! so the order of calls is the order of the log. Answers of a partition come in order, as on one connection: one that
//! is held or delayed holds back those behind it. Partitions do not wait for each other.
//!
//! Partition: the record's own, else its key's by Java's murmur2, else in turn from 0 on, counted for each transport
//! and topic by itself.
//!
//! Each record is a batch of its own and is sent once, unless [`MemoryKafka::producer`] makes a producer that sends
//! [batches](Producer::batches), or [again by itself](Producer::retries).
//!
//! # Transactions
//!
//! [`MemoryKafka::transactional_transport`] makes a producer whose
//! [control](kafka_tower_core::Control::transactions) begins and ends transactions. The broker keeps Kafka's rules: `init`
//! fences older producers of the id and aborts what they left open; markers take offsets; `read_committed` readers
//! ([`MemoryKafka::committed`]) see nothing of an aborted transaction and nothing behind the first open one; what is open
//! longer than the producer's time-out is aborted and the producer fenced; a consumer's offsets count with the commit.
//! It is the protocol that librdkafka speaks, so that a late end can hit the next transaction (KAFKA-17754):
//! [`TransactionRule::hold`] makes one.
//!
//! # Faults
//!
//! [`MemoryKafka::script`] and [`MemoryKafka::script_transactions`] say what happens to which record or request;
//! [`MemoryKafka::outage`] and [`MemoryKafka::move_leader`] are short for what often does;
//! [`MemoryKafka::seed_faults`] draws faults from a seed, and [`check`](crate::check()) runs a stack under a thousand of
//! them and says whether it keeps its guarantee.
//!
//! # Consumers
//!
//! [`MemoryKafka::consumer`] joins a group: assignments, committed offsets, generations and the classic rebalance, which
//! waits for each member to give up its partitions.
//!
//! # Time
//!
//! Tokio's clock and no other, so that a paused clock makes a run repeatable. Without a script everything is settled
//! inside `call`, without a task or a timer, also outside a runtime. Delays, and deadlines that have to be waited for,
//! need a runtime; when it ends before a delay does, the record's future resolves with an error.
//!
//! # Cancellation
//!
//! Dropping a response future cancels nothing: the record goes on, and its report gives the room back. Dropping the
//! last handle (a [`MemoryTransport`] or its control) neither, but it warns.
//!
//! # Errors
//!
//! | when | [kind](kafka_tower_core::ErrorKind), persistence |
//! |---|---|
//! | the record is malformed | `InvalidRecord`, not persisted |
//! | larger than the transport's limit or the topic's | `RecordTooLarge`, not persisted |
//! | its time stamp is more than an hour ahead | `Rejected`, not persisted |
//! | no such topic or partition | `UnknownTopicOrPartition`, not persisted |
//! | its time ran out while it was parked | `Timeout`, not persisted |
//! | its time ran out while it was on its way | `Timeout`, possibly persisted |
//! | called after `close`, or still parked when that gave up | `Closed`, not persisted |
//! | on its way when `close` gave up | `Timeout`, possibly persisted |
//! | a call in the wrong state of a transaction | `Transaction` that says `Reject`, not persisted |
//! | a record or a commit after a record of the transaction failed | `Transaction` that says `AbortTransaction`, not persisted |
//! | `commit` or `abort` without an answer in time | `Timeout` that says `Retry`, possibly persisted |
//! | another producer took the transactional id, or the transaction's time ran out | `Fenced`, not persisted; possibly persisted for a commit that was asked for before |
//! | the broker knows no such transaction (a late end has ended it) | `Transaction` that says `Fatal`, possibly persisted |
//! | the script says so | the script's |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod broker;
#[cfg(feature = "check")]
#[cfg_attr(docsrs, doc(cfg(feature = "check")))]
pub mod check;
mod client;
mod consumer;
mod control;
mod errors;
mod faults;
mod future;
mod groups;
mod handle;
mod lane;
mod log;
mod outage;
mod producer;
mod readers;
mod resend;
mod rule;
mod script;
mod slot;
mod store;
mod transaction;
mod transport;
mod waits;

#[cfg(feature = "check")]
#[cfg_attr(docsrs, doc(cfg(feature = "check")))]
#[doc(no_inline)]
pub use check::check;
pub use consumer::{ConsumerEvent, MemoryConsumer};
pub use faults::{Fault, FaultKind, FaultPlace, Faults};
pub use future::MemoryDelivery;
pub use handle::{DEFAULT_LIMITS, EPOCH, MemoryKafka};
pub use log::{Marker, StoredRecord};
pub use outage::Outage;
pub use producer::Producer;
pub use rule::{Hold, Rule, Scripted};
pub use transaction::rule::{ScriptedTransaction, TransactionHold, TransactionRule};
pub use transaction::script::TransactionCall;
pub use transport::MemoryTransport;
