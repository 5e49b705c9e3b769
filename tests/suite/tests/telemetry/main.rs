//! Tests what a sink with telemetry exports, and what it must never export.
#![allow(clippy::unwrap_used)] // a test may fail

mod batches;
mod nesting;
mod privacy;
mod real;
mod room;
mod sink;
mod source;
mod statistics;
mod support;
mod transactions;
