//! Telemetry of a sink, if it was given a [`Telemetry`](crate::telemetry::Telemetry) (feature `opentelemetry`). Without
//! the feature the same calls do nothing.

#[cfg(not(feature = "opentelemetry"))]
mod off;
#[cfg(feature = "opentelemetry")]
mod on;
mod transactions;

#[cfg(not(feature = "opentelemetry"))]
pub(super) use off::{BatchTelemetry, CallerContext, SinkTelemetry, TelemetrySetting};
#[cfg(feature = "opentelemetry")]
pub(super) use on::{BatchTelemetry, CallerContext, SinkTelemetry, TelemetrySetting};
pub(super) use transactions::{TracedTransactions, transactions};
