//! What `CircuitBreaker` promises: it opens, probes and closes; one result per call, of its own period; who is rejected
//! is told at once; nothing that is dropped or stuck keeps it from closing again.
#![cfg(feature = "circuit-breaker")]
#![allow(clippy::unwrap_used)]

mod hand;
mod periods;
mod probes;
mod races;
mod readiness;
mod support;
