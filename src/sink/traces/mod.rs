//! Telemetry of a sink, if it was given a [`Telemetry`](crate::telemetry::Telemetry) (feature `opentelemetry`). Without
//! the feature the same calls do nothing.

#[cfg(not(feature = "opentelemetry"))]
mod off;
#[cfg(feature = "opentelemetry")]
mod on;

#[cfg(not(feature = "opentelemetry"))]
pub(super) use off::{Batch, Caller, Told, Traces};
#[cfg(feature = "opentelemetry")]
pub(super) use on::{Batch, Caller, Told, Traces};
