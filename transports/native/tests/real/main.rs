//! Records through the transport into a real Apache Kafka: what an independent reader reads, and what callers are told.
#![allow(clippy::unwrap_used)] // a test may fail

mod refusals;
mod runtimes;
#[path = "../support/mod.rs"]
mod support;
mod times;
mod topics;
mod values;
