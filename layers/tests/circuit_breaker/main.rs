//! Tests of `CircuitBreaker`: it opens, probes and closes; each call has one result, which counts in its own period;
//! rejections are immediate; dropped or stuck calls do not keep it from closing again.
#![cfg(feature = "circuit-breaker")]
#![allow(clippy::unwrap_used)]

mod hand;
mod periods;
mod probes;
mod races;
mod readiness;
mod support;
