//! Benchmarks: the cost of a record in kafka-tower, counted in memory and compared with rust-rdkafka's
//! `FutureProducer` and `StreamConsumer`.
//!
//! See `benches/README.md` for how to run them and for results.

pub mod alloc;
pub mod broker;
pub mod cases;
mod gate;
pub mod message;
pub mod null;
pub mod other;
pub mod read;
pub mod run;
mod source;
pub mod stalled;
pub mod stats;
pub mod telemetry;
mod transactions;
pub mod usage;
