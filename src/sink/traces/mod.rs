//! What a sink tells OpenTelemetry, if it was given a [`Telemetry`](crate::telemetry::Telemetry) to tell: with the feature
//! `opentelemetry`. Without it there is nothing to tell, and the same calls are none.

#[cfg(not(feature = "opentelemetry"))]
mod off;
#[cfg(feature = "opentelemetry")]
mod on;

#[cfg(not(feature = "opentelemetry"))]
pub(super) use off::{Batch, Caller, Told, Traces};
#[cfg(feature = "opentelemetry")]
pub(super) use on::{Batch, Caller, Told, Traces};
