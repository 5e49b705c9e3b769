//! Compares the in-memory Kafka with a real one behind a fault proxy. Scripted scenarios run on both and must give the
//! same answers, the same log and the same verdicts of the checker.
#![allow(clippy::unwrap_used)] // a test may fail

mod ends;
mod misuse;
mod owners;
mod records;
mod support;
mod values;
