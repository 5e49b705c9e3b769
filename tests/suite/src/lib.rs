//! Helpers of this project's own tests: fixtures for the laws of `kafka-tower-testkit`, whose test binaries run them on
//! the batching layer, on librdkafka's mock cluster and on a real Apache Kafka; the judges of processes that
//! are killed; and what several test binaries need.

#![forbid(unsafe_code)]

pub mod control;
pub mod copies;
pub mod native;
pub mod proxied;
pub mod random;
pub mod rdkafka;
pub mod units;
