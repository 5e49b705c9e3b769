//! The production transport of kafka-tower: [librdkafka](https://github.com/confluentinc/librdkafka) behind a
//! `tower::Service` that satisfies the laws of [`Transport`](kafka_tower_core::Transport).
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
//! # How it differs from librdkafka and its binding
//!
//! - **Unknown codes.** The Rust binding turns error codes into an enum with holes, so that an unknown code is
//!   undefined behaviour. This transport's event loop reads codes as integers and maps each one to a typed error.
//! - **Persistence.** librdkafka reports whether a record is in the log; the binding does not pass it on. Where
//!   librdkafka only guesses, the error says [`PossiblyPersisted`](kafka_tower_core::Persistence::PossiblyPersisted).
//! - **Deadlines.** A record's deadline resolves its future and never becomes `message.timeout.ms`: in outages that
//!   were longer, that wrote thousands of records twice.
//! - **Transactions.** A request that arrives late would count for the next transaction, which it can end
//!   (KAFKA-17754). If a request of a transaction had no answer, the next `begin` first replaces the producer by one
//!   with a new epoch.
//! - **Fatal errors.** librdkafka's idempotent producer ends when a broker has lost or forgotten what it wrote. Without
//!   transactions it is replaced, and goes on with the records that were certainly not written.
//! - **Causes.** Only the error callback knows why nothing is delivered. The last errors are kept, and a time-out names
//!   them.
//! - **Secrets.** The binding's configuration error prints passwords. This transport's error only names the property.
//! - **Connecting** finds a broker, the topics and the producer id, or fails with the cause.
//! - **Shutdown.** `close` returns undelivered records; a drop without it logs a warning with their number.
//!
//! # Logs
//!
//! Errors of the client are warnings with their code and its name. librdkafka's own log goes to `tracing` with the
//! target `librdkafka` and its facility; its property `debug` enables more. A repeated line is logged once in 10 s, and
//! the next one says how many were suppressed (also as the field `repeats`), so that an unreachable broker does not
//! fill the disk. Lines at debug level are never suppressed.
//!
//! # Features
//!
//! | feature | adds | needs (Debian) |
//! |---|---|---|
//! | none | gzip, snappy, lz4; PLAIN without TLS | `build-essential` |
//! | `ssl` | TLS, SCRAM, OAUTHBEARER with the system's OpenSSL | `libssl-dev pkg-config` |
//! | `ssl-vendored` | the same with an OpenSSL that is compiled from source | `perl` |
//! | `zstd` | zstd | |
//! | `gssapi` | Kerberos | `libsasl2-dev libssl-dev pkg-config` |
//! | `cmake-build` | builds with CMake instead of configure | `cmake libcurl4-openssl-dev` |
//! | `mock-cluster` | `MockCluster`: librdkafka's in-process brokers | |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(unsafe_code)]

mod advertised_names;
mod batch_logging;
mod broker_activity;
mod builder;
mod callbacks;
mod classify;
mod close;
mod code_lookup;
mod codes;
mod connect;
mod connect_state;
mod connections;
mod consumer;
mod context;
mod control;
#[cfg(test)]
mod error_texts;
mod event_loop;
mod events;
mod explain;
#[allow(unsafe_code)]
mod ffi;
mod future;
mod held;
mod implied;
mod inner;
mod inspect;
mod isolated;
mod line_kind;
mod log;
mod log_lines;
mod lost_brokers;
#[cfg(feature = "mock-cluster")]
mod mock;
mod open_transaction;
mod owner;
mod partition_counts;
mod partition_refresh;
mod probe;
mod properties;
mod recent_errors;
mod replace;
mod request_limit;
mod slot;
mod stuck_partitions;
mod threads;
mod tokens;
mod transactions;
mod transport;
mod wrong_protocol;

pub use builder::RdkafkaBuilder;
pub use consumer::RdkafkaConsumerTransport;
pub use events::{ClientError, ClientEvents};
pub use future::DeliveryFuture;
pub use inspect::{FoundTopic, Inspection, inspect};
pub use kafka_tower_core::{FoundBroker, FoundPartition};
#[cfg(feature = "mock-cluster")]
pub use mock::MockCluster;
pub use transport::RdkafkaTransport;
