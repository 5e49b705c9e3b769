//! A Kafka producer in safe Rust for kafka-tower, without librdkafka: no C compiler, no threads of its own.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::Record;
//! use kafka_tower_native::NativeTransport;
//! use tower_service::Service;
//!
//! let mut transport = NativeTransport::builder().bootstrap("localhost:9092").topic("orders").connect().await?;
//! let delivery = transport.call(Record::new("orders").with_key("42").with_value("first")).await?;
//! println!("partition {}, offset {:?}", delivery.partition, delivery.offset);
//! # Ok(())
//! # }
//! ```
//!
//! It keeps the laws of [`Transport`](kafka_tower_core::Transport), and has no transactions, no TLS and no SASL yet. `docs/native.md`
//! of the repository says what is different from librdkafka.
//!
//! # Outcomes
//!
//! | a record | at its deadline, at a close, or when the runtime ends |
//! |---|---|
//! | waits for room, for metadata or for its turn | is not written |
//! | is in a request that was not wholly written to a socket | is not written, unless only its deadline has passed: then it goes on, and may be written |
//! | is in a request without an answer | may be written |
//!
//! With idempotence, the default, a batch without an answer is sent again with the same sequence numbers. Without, it is not sent
//! again.
//!
//! # Features
//!
//! `gzip`, `lz4` and `snappy` are on by default, and none of them needs a C compiler.
#![forbid(unsafe_code)]

mod builder;
mod causes;
mod client;
mod control;
mod failure;
mod inbox;
mod owner;
mod settings;
mod shared;
mod slot;
mod transport;

#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod compress;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod partition;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod record_batch;

pub use builder::NativeBuilder;
pub use compress::Codec;
pub use settings::Acks;
pub use transport::{DeliveryFuture, NativeTransport};
