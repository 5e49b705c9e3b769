//! Tests what a sink with telemetry exports, and what it must never export.
#![allow(clippy::unwrap_used)] // a test may fail

mod nesting;
mod privacy;
mod real;
mod sink;
mod statistics;
mod support;
