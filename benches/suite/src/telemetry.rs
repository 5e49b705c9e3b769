//! Telemetry in each of its states.

use kafka_tower::telemetry::Telemetry;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

/// With what is global, and nothing is.
#[must_use]
pub fn none() -> Telemetry {
    Telemetry::new()
}

/// A meter and no tracer.
#[must_use]
pub fn metrics() -> Telemetry {
    Telemetry::builder().without_spans().meter_provider(&meters()).build()
}

/// A tracer that records nothing; contexts are written.
#[must_use]
pub fn sampled_out() -> Telemetry {
    spans(Sampler::AlwaysOff).without_metrics().build()
}

/// A tracer that records all and exports none of it.
#[must_use]
pub fn recorded() -> Telemetry {
    spans(Sampler::AlwaysOn).without_metrics().build()
}

/// The same with a meter.
#[must_use]
pub fn all() -> Telemetry {
    spans(Sampler::AlwaysOn).meter_provider(&meters()).build()
}

fn spans(sampler: Sampler) -> kafka_tower::telemetry::TelemetryBuilder {
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    Telemetry::builder().tracer_provider(&tracers).propagator(TraceContextPropagator::new())
}

/// Collects once a minute: not while something is measured.
fn meters() -> SdkMeterProvider {
    SdkMeterProvider::builder().with_periodic_exporter(InMemoryMetricExporter::default()).build()
}
