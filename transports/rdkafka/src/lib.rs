//! The production transport of kafka-tower: [librdkafka](https://github.com/confluentinc/librdkafka) behind a
//! `tower::Service` that keeps the laws of [`Transport`](kafka_tower_core::Transport).
//!
//! ```no_run
//! # async fn run() -> kafka_tower_core::Result<()> {
//! use kafka_tower_core::Record;
//! use kafka_tower_rdkafka::RdkafkaTransport;
//! use tower::{Service, ServiceExt};
//!
//! let mut transport = RdkafkaTransport::builder()
//!     .property("bootstrap.servers", "localhost:9092")
//!     .topic("orders")
//!     .connect()
//!     .await?;
//! let control = transport.control();
//! let delivery = transport.ready().await?.call(Record::new("orders").with_value("42")).await?;
//! println!("{delivery}"); // orders[0]@17
//! control.close(std::time::Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does about librdkafka
//!
//! - **Unknown codes.** The Rust binding turns error codes into an enum with holes; a code that it does not know is undefined
//!   behaviour. Our own event loop reads codes as integers, and each integer has a typed answer.
//! - **Where the record is.** librdkafka knows, the binding does not tell. A guess of librdkafka's is not believed: then the
//!   error says [`PossiblyPersisted`](kafka_tower_core::Persistence::PossiblyPersisted).
//! - **Time.** The deadline of a record resolves its future and never becomes `message.timeout.ms`: that wrote thousands of
//!   records twice in outages that were longer.
//! - **Causes.** Only the error callback knows why nothing is delivered. The last errors are kept, and a time-out names them.
//! - **Secrets.** The binding's configuration error prints passwords. Ours names the property.
//! - **Connecting** finds a broker, the topics and the producer id, or fails with the cause.
//! - **The end.** `close` hands undelivered records back; a drop without it warns with their number.
//!
//! # Logs
//!
//! Errors of the client are warnings with their code and its name. librdkafka's own log goes to `tracing` with the target
//! `librdkafka` and its facility; ask for more with its property `debug`. A line that repeats is said once in 10 s, and the next
//! says how many were like it (also as the field `repeats`): a dead broker does not fill a disk. Lines at debug level are never
//! held back.
//!
//! # Features
//!
//! | feature | what | needs (Debian) |
//! |---|---|---|
//! | none | gzip, snappy, lz4; PLAIN without TLS | `build-essential` |
//! | `ssl` | TLS, SCRAM, OAUTHBEARER with the system's OpenSSL | `libssl-dev pkg-config` |
//! | `ssl-vendored` | the same with an OpenSSL that is built along | `perl` |
//! | `zstd` | zstd | |
//! | `gssapi` | Kerberos | `libsasl2-dev libssl-dev pkg-config` |
//! | `cmake-build` | CMake in place of configure | `cmake libcurl4-openssl-dev` |
//! | `mock-cluster` | `MockCluster`: librdkafka's in-process brokers | |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(unsafe_code)]

mod alone;
mod builder;
mod causes;
mod classify;
mod clock;
mod closing;
mod codes;
mod connect;
mod context;
mod control;
mod event_loop;
mod events;
mod expiry;
mod explain;
mod facts;
#[allow(unsafe_code)]
mod ffi;
mod future;
mod held;
mod inspect;
mod lines;
mod listen;
mod log;
#[cfg(feature = "mock-cluster")]
mod mock;
mod names;
mod open_transaction;
mod peer;
mod peers;
mod probe;
mod properties;
mod refresh;
mod repeats;
mod replace;
mod shared;
mod slot;
#[cfg(test)]
mod texts;
mod transactions;
mod transport;
mod trouble;

pub use builder::Builder;
pub use events::{ClientError, ClientEvents, OauthToken};
pub use future::DeliveryFuture;
pub use inspect::{FoundBroker, FoundPartition, FoundTopic, Inspection, inspect};
#[cfg(feature = "mock-cluster")]
pub use mock::MockCluster;
pub use transport::RdkafkaTransport;
