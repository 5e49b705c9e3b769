//! Helpers of this project's own tests: fixtures for the laws of `kafka-tower-testkit`, whose test binaries run them on
//! memory, on librdkafka's mock cluster and on a real Apache Kafka; and the judge of transactions in processes that are
//! killed.

#![forbid(unsafe_code)]

pub mod random;
pub mod rdkafka;
pub mod units;
