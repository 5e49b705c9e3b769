//! A Kafka transport for kafka-tower in safe Rust, without librdkafka. **It is not finished and cannot send a record.**
//!
//! Only its lowest layer exists: pure functions between Kafka's bytes and Rust's values. There is no connection, no task and no
//! `Transport` yet, and nothing of the package is a public interface.
//!
//! | module | content |
//! |---|---|
//! | [`protocol`] | requests and answers of Kafka 2.5 to 4.3 |
//! | [`record_batch`] | record batches: records are appended to a buffer, which is then sealed |
//! | [`compress`] | gzip, snappy and lz4, each behind a feature of its name |
//! | [`net`] | decisions of a connection: addresses, frames, requests without an answer |
//!
//! # Features
//!
//! `gzip`, `lz4` and `snappy` are on by default, and none of them needs a C compiler.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod compress;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod record_batch;
