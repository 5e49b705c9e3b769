//! The Kafka in memory against a real one behind a fault proxy: scripted scenarios on both, the same answers, the same log,
//! and the same verdicts of the checker.
#![allow(clippy::unwrap_used)] // a test may fail

mod ends;
mod misuse;
mod owners;
mod records;
mod support;
mod values;
