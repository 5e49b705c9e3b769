//! Proves a transport of kafka-tower: one test for each law of [`Transport`](kafka_tower_core::Transport).
//!
//! Write a [`Fixture`], which opens your transport on a new topic, and let [`law_tests!`] make a `#[tokio::test]` of
//! each law. The name of a failed test is the name of the broken law.
//!
//! ```
//! use kafka_tower_core::gate::Limits;
//! use kafka_tower_memory::{Hold, MemoryKafka, MemoryTransport};
//! use kafka_tower_testkit::{Broker, Fixture, Law, LogRecord, NotApplicable, Opened, law_tests};
//!
//! struct Memory;
//!
//! impl Fixture for Memory {
//!     type Transport = MemoryTransport;
//!     type Broker = Topic;
//!
//!     async fn open(&self, limits: Limits, partitions: u32) -> Opened<MemoryTransport, Topic> {
//!         let kafka = MemoryKafka::new().with_topic("laws", partitions);
//!         let transport = kafka.transport_with(limits);
//!         Opened { control: transport.control(), transport, topic: "laws".into(), broker: Topic(kafka, None) }
//!     }
//!
//!     fn not_applicable(&self) -> Vec<Law> {
//!         Law::OF_TRANSACTIONS.to_vec()
//!     }
//! }
//!
//! struct Topic(MemoryKafka, Option<Hold>);
//!
//! impl Broker for Topic {
//!     async fn read(&self) -> Vec<LogRecord> {
//!         let records = self.0.records("laws");
//!         records.iter().map(|stored| LogRecord::new(stored.partition, stored.offset, &stored.record)).collect()
//!     }
//!
//!     async fn pause(&mut self) -> Result<(), NotApplicable> {
//!         self.1 = Some(self.0.script().always().hold());
//!         Ok(())
//!     }
//!
//!     async fn resume(&mut self) {
//!         self.1 = None;
//!     }
//! }
//!
//! law_tests!(#[tokio::test(start_paused = true)] Memory);
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! // Or without a test harness:
//! let report = kafka_tower_testkit::laws::all(&Memory).await;
//! assert!(report.is_kept(), "{report}");
//! # }
//! ```
//!
//! A law that cannot run for a transport is [not applicable](NotApplicable), for example because the broker cannot be
//! paused. Its test fails until the fixture [lists](Fixture::not_applicable) the law, and a listed law that can run
//! fails too: no law passes without having run.
//!
//! The module [`consumer`] does the same for the reading side of a transport.
//!
//! # Features
//!
//! | feature | effect |
//! |---|---|
//! | `kafka` | the module `kafka`: an Apache Kafka that tests start, stop, break and read, with a fault proxy; compiles C code |
//! | `ssl` | `kafka`, and TLS in the crate `rdkafka` |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod consumer;
mod fixture;
#[cfg(feature = "kafka")]
#[cfg_attr(docsrs, doc(cfg(feature = "kafka")))]
pub mod kafka;
pub mod laws;
mod random;
mod verdict;

pub use fixture::{Broker, Fixture, LogRecord, NotApplicable, Opened, OpenedPair};
pub use laws::{Law, Report};
pub use random::Random;
pub use verdict::Verdict;
