//! Sends records in shared transactions: `Service<Record>` over a transactional transport.
//!
//! Concurrent callers share a transaction, because a transaction costs round trips and marker writes whatever its size.
//! A caller's future resolves with `Ok` only after the commit.
//!
//! A batch is cut when it reaches a number of [records](TransactionBatchLayer::records) or
//! [bytes](TransactionBatchLayer::bytes), when its oldest record reaches an [age](TransactionBatchLayer::age), by a flush
//! or close, and when no room is left for more records. While a batch is sent and committed, the next one fills.
//!
//! # Outcomes
//!
//! | the transaction | the callers |
//! |---|---|
//! | is committed | `Ok`, with the record's offset |
//! | is aborted for certain | nothing yet: the whole batch is replayed in order, up to [`replays`](TransactionBatchLayer::replays) times; then `Transaction` with recovery `Retry`, `NotPersisted`, and the cause as its source |
//! | is aborted because a record was refused | that record: its own error, `NotPersisted`. The others are sent again and committed |
//! | may have been committed | `Transaction`, `PossiblyPersisted`. It is never replayed |
//!
//! If a broker refuses a batch of records without saying which one is the cause
//! ([`Scope::Batch`](kafka_tower_core::Scope::Batch)), the layer sends the batch as two transactions, one after the other,
//! until the refused record is alone.
//!
//! Only the first answer of a commit can be a certain refusal. If it asks for a repetition (`Retry`), commit is called
//! again until the transaction's [time](TransactionBatchLayer::timeout) is over, and any other end than `Ok` means that the
//! outcome is unknown: "fenced" does not mean "not committed".
//!
//! # Recovery
//!
//! A transaction has no clean end if its commit or its abort is not answered in time, or if its producer ends. Its records
//! get their outcomes at once, and those that were certainly not committed are sent again later. The lane sends nothing
//! until it is back; records that wait for it keep their deadlines, which then name the cause.
//!
//! | what is left | what the lane does |
//! |---|---|
//! | a commit or abort without an answer | makes the same call again, after 100 ms and later after up to 5 s, until it has an answer |
//! | a producer that has ended | makes a new transport and initialises it ([`layer_lanes_with`](TransactionBatchLayer::layer_lanes_with)), with the same pauses. Without a function that makes one, the lane takes no more records |
//! | a producer that was fenced within its [transaction time-out](TransactionBatchLayer::transaction_timeout): another process has taken over the id | takes no more records |
//!
//! A producer that was fenced later was fenced by the coordinator, whose time for the transaction was over. Its id is
//! acquired again.
//!
//! # Place in the stack
//!
//! Directly above the transport, below the partition layer. Use no retry layer below it: one that sends a record again
//! changes the order of the batch. A retry layer above sends the records of a batch that was given up one by one, so that
//! their order may change; each one is still written once.
//!
//! # Order
//!
//! `call` fixes the record's place. Within a partition, the committed records have the order of their calls, also after a
//! replay.
//!
//! # Deadlines
//!
//! A record that is not sent at its `expires_at` is taken out of its batch: `Timeout`, `NotPersisted`. If its transaction
//! is under way, the caller gets `Timeout`, `PossiblyPersisted`, and the transaction goes on; if it is aborted, the record is
//! not replayed.
//!
//! # Cancellation
//!
//! Dropping the future cancels nothing: the record stays in its batch. Dropping the last handle commits what is there, as
//! long as the runtime runs, and logs a warning.
//!
//! # Errors
//!
//! | when | [kind](kafka_tower_core::ErrorKind), recovery, persistence |
//! |---|---|
//! | the transaction was aborted, and replays did not help | `Transaction`, `Retry`, not persisted |
//! | the outcome of the commit is unknown | `Transaction`, possibly persisted, `Reject`; `Fatal` if the lane takes no more records |
//! | the producer ended before the commit was called, and is not replaced | `Fatal`, not persisted |
//! | an earlier transaction ended the producer, which is not replaced | `Fatal`, not persisted |
//! | the service below panicked | `Unknown`, not persisted; possibly persisted in a commit |
//! | the record's deadline passed | `Timeout`, see above |
//! | larger than the whole room | `RecordTooLarge`, not persisted |
//! | called after the close, given up by the close, or the layer's runtime ended | `Closed`, not persisted; possibly persisted in a commit |
//! | several lanes, and the topic's number of partitions is not known | `UnknownTopicOrPartition`, `Retry`, not persisted |
//!
//! After a panic the transaction is aborted and the next batch uses a fresh clone of the service.
//!
//! # Lanes
//!
//! One transactional id has one transaction at a time. [`TransactionBatchLayer::lanes`] takes several transports, whose
//! transactions run side by side. A partition belongs to one lane, so that its order is kept: the record's partition, or
//! its key's, decides, and is fixed at the call. Therefore put the partition layer above. A record with neither gets a
//! partition at its call, the same one for all such records of a batch, of a lane that can send them soon: their order
//! is that of the calls only within a partition. The lanes share the room.
//!
//! Give the transports the ids `{id}-0`, `{id}-1`, … and keep their number: if you reduce it, acquire the ids that are no
//! longer used once with [`init`](kafka_tower_core::TransactionControl::init), so that an old process cannot write with
//! them.
//!
//! # Units
//!
//! [`TransactionBatch::join`] takes several records and a consumer's offsets as a [`Unit`]: all of them are in one
//! transaction, or none. Consume-transform-produce needs this: the unit has the output of consumed records, and the offsets
//! after them.
//!
//! A unit is admitted, sent, replayed and refused as a whole, and counts as one record with all its bytes: in the limits of a
//! batch, in the room, in [`in_flight`](kafka_tower_core::Control::in_flight), and in the division of a batch that a broker
//! refused. It may have offsets without records, and shares its transaction with other units and records. The deadlines of
//! its records are not kept: it waits for its transaction.
//!
//! Offsets are merged if the group's whole metadata is equal, so that Kafka refuses those of a member that missed a
//! rebalance. Its units then fail, and the rest of the batch is sent again. Kafka checks the member, not its partitions:
//! give each unit the metadata with which its input was consumed.
//!
//! Join the units of an input partition in the order of their offsets. You may join the next one before the result of the
//! one before. **After a unit that is not `Ok`, all later units of its input partitions fail** (`Transaction`, `Reject`, not
//! persisted), also those that wait already: their offsets would commit its input as consumed, and its output would be lost.
//! A unit that was aborted after all replays, or that `join` refused, counts as failed too. To go on:
//!
//! 1. await the units of the partition that are still open;
//! 2. fetch the group's committed offset as a `read_committed` consumer does: it waits for a transaction that has not ended,
//!    so that it is final also after an unknown end;
//! 3. call [`TransactionBatch::resume`], which refuses while units of the partition are open;
//! 4. consume again from there, and join new units.
//!
//! With several lanes a unit belongs to the lane of its input partitions, which must have the same one, and it needs offsets;
//! other units are refused. Its records go to any partition, in that lane's transaction. So the records of an input partition
//! keep their order within each output partition. Between units of different lanes, and between units and other records, the
//! order within an output partition is not that of the calls: use one lane if you need it.
//!
//! | a unit | kind, recovery, persistence |
//! |---|---|
//! | a record was refused | the record's kind, `Reject`, not persisted. The record's error is the source |
//! | the group did not take the offsets | `Transaction`, `Reject`, not persisted. Kafka's error is the source |
//! | an earlier unit of an input partition failed | `Transaction`, `Reject`, not persisted |
//! | neither records nor offsets; with several lanes, no lane or more than one | `Transaction`, `Reject`, not persisted |
//! | otherwise | as a record; with offsets `Reject` instead of `Retry`, because the same unit is refused until its partitions are resumed |
//!
//! A close reports each record of a unit. A unit without records that is not committed counts as one unknown, without a
//! record.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! # use std::time::Duration;
//! use kafka_tower_core::{Record, TopicOffset};
//! use kafka_tower_layers::transaction_batch::{TransactionBatchLayer, Unit};
//! # use kafka_tower_memory::MemoryKafka;
//! # use tower::{Layer, Service, ServiceExt};
//! # let kafka = MemoryKafka::new().with_topic("invoices", 1);
//! # let transport = kafka.transactional_transport("billing-1");
//! # let layer = TransactionBatchLayer::new(transport.control());
//! # layer.init(Duration::from_secs(10)).await?;
//! # let mut invoices = layer.layer(transport);
//! # let group = kafka.rebalance("billing");
//! // The order at offset 41 of partition 0 makes two invoices.
//! let output = [Record::new("invoices").with_value("first"), Record::new("invoices").with_value("second")];
//! let next = TopicOffset { topic: "orders".into(), partition: 0, offset: 42 };
//! let unit = Unit::new(output).with_offsets([next], group);
//! let deliveries = invoices.ready().await?.join(unit).await?;
//! assert_eq!(deliveries.len(), 2);
//! assert_eq!(kafka.committed_offset("billing", "orders", 0), Some(42));
//! # Ok(())
//! # }
//! ```
//!
//! # Flush and close
//!
//! [`TransactionBatch::control`] decorates the transport's control. Flush cuts the batch at once. Close cuts, commits what
//! is there within its time, aborts the rest, closes the transports, and reports the records that were not delivered. Do
//! not use the transport's own control beside it.
//!
//! Several sinks can share the layer: [`Control::open_tenant`](kafka_tower_core::Control::open_tenant). Their records share
//! transactions. The close of one commits its records at once, with the batches they are in, and gives up those that are
//! left when its time is over: one that is not sent yet is taken out of its batch, and one whose transaction is under way
//! is reported as possibly persisted and goes on with it.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use std::time::Duration;
//! use kafka_tower_core::Record;
//! use kafka_tower_layers::transaction_batch::TransactionBatchLayer;
//! use kafka_tower_memory::MemoryKafka;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 1);
//! let transport = kafka.transactional_transport("billing-1");
//! let layer = TransactionBatchLayer::new(transport.control()).records(100).age(Duration::from_millis(20));
//! layer.init(Duration::from_secs(10)).await?;
//! let mut orders = ServiceBuilder::new().layer(layer).service(transport);
//! let control = orders.control();
//!
//! let first = orders.ready().await?.call(Record::new("orders").with_value("first"));
//! let second = orders.ready().await?.call(Record::new("orders").with_value("second"));
//! assert!(kafka.committed("orders").is_empty());
//!
//! // Both are in one transaction, which is cut 20 ms after the first call.
//! assert_eq!((first.await?.offset, second.await?.offset), (Some(0), Some(1)));
//! assert_eq!(kafka.committed("orders").len(), 2);
//! assert!(control.close(Duration::from_secs(10)).await?.is_complete());
//! # Ok(())
//! # }
//! ```

mod attempt;
mod batch;
mod control;
mod cut;
mod decide;
mod entry;
mod errors;
mod event;
mod expiry;
mod future;
mod inner;
mod inputs;
mod join;
mod lanes;
mod layer;
mod offsets;
mod open;
mod recover;
mod service;
mod settings;
mod spread;
mod unit;
mod units;
mod worker;

pub use event::{CutReason, TransactionEvent, TransactionOutcome};
pub use future::TransactionBatchFuture;
pub use join::JoinFuture;
pub use layer::TransactionBatchLayer;
pub use service::TransactionBatch;
pub use unit::Unit;
