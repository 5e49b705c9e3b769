//! Helpers of this project's own fixtures for the laws of `kafka-tower-testkit`. Test binaries run the laws on memory, on
//! librdkafka's mock cluster and on a real Apache Kafka.

#![forbid(unsafe_code)]

pub mod rdkafka;
