//! The laws of a transport as one suite: see [`laws`]. Test binaries run it on memory, on librdkafka's mock cluster and on a
//! real Apache Kafka.

#![forbid(unsafe_code)]

pub mod laws;
pub mod random;
pub mod rdkafka;
pub mod subject;

pub use subject::{Open, Subject, Written};
