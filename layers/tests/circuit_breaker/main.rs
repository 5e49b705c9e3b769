//! Tests of `CircuitBreaker`: it opens, probes and closes; each call counts once, in the generation that admitted it;
//! rejections are immediate; dropped or stuck calls do not keep it from closing again.
#![cfg(feature = "circuit-breaker")]
#![allow(clippy::unwrap_used)]

mod hand;
mod periods;
mod probes;
mod races;
mod readiness;
mod support;
mod waiting;
