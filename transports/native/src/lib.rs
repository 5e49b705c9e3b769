//! A Kafka transport for kafka-tower in safe Rust, without librdkafka. **It is not finished and cannot send a record.**
//!
//! Only its lower layers exist: Kafka's bytes as Rust's values, and a connection to one broker. There is no task and no `Transport`
//! yet, no TLS and no SASL, and nothing of the package is a public interface.
//!
//! | module | content |
//! |---|---|
//! | [`protocol`] | requests and answers of Kafka 2.5 to 4.3 |
//! | [`record_batch`] | record batches: records are appended to a buffer, which is then sealed |
//! | [`compress`] | gzip, snappy and lz4, each behind a feature of its name |
//! | [`cluster`] | what a client knows of its cluster, as pure values |
//! | [`net`] | a connection to one broker, and what a client asks before it can send |
//!
//! # Features
//!
//! `gzip`, `lz4` and `snappy` are on by default, and none of them needs a C compiler.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod compress;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod record_batch;
