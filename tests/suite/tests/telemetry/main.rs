//! What a sink with telemetry tells, and what it never does.
#![allow(clippy::unwrap_used)] // a test may fail

mod nesting;
mod privacy;
mod real;
mod sink;
mod statistics;
mod support;
