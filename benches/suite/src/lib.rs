//! What a record costs in kafka-tower: counted in memory, and compared with rust-rdkafka's `FutureProducer`.
//!
//! See `benches/README.md` for how to run it and for what it measured.

pub mod alloc;
pub mod broker;
pub mod cases;
pub mod message;
pub mod null;
pub mod run;
pub mod stats;
pub mod telemetry;
pub mod usage;
