//! Tests of the telemetry layer.
#![cfg(all(feature = "telemetry", feature = "json"))]
#![allow(clippy::unwrap_used)]

mod batches;
mod conventions;
mod headers;
mod metrics;
mod nesting;
mod source;
mod spans;
mod support;
mod transactions;
mod w3c;
