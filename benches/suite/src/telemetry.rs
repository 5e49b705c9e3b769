//! Telemetry in each of its states.

use kafka_tower::Headers;
use kafka_tower::telemetry::{HeaderExtractor, Telemetry, W3cPropagator};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

/// Telemetry with the global providers, of which there are none.
#[must_use]
pub fn none() -> Telemetry {
    Telemetry::new()
}

/// Telemetry with a meter and no tracer.
#[must_use]
pub fn metrics() -> Telemetry {
    Telemetry::builder().spans(false).meter_provider(&meters()).build()
}

/// Telemetry with a tracer that records nothing; trace contexts are written.
#[must_use]
pub fn sampled_out() -> Telemetry {
    spans(Sampler::AlwaysOff).metrics(false).build()
}

/// The same with the SDK's propagator.
#[must_use]
pub fn sampled_out_sdk() -> Telemetry {
    spans(Sampler::AlwaysOff).propagator(TraceContextPropagator::new()).metrics(false).build()
}

/// Telemetry that does not ask the tracer below a span that is sampled out.
#[must_use]
pub fn followed() -> Telemetry {
    spans(Sampler::AlwaysOn).follow_parent(true).metrics(false).build()
}

/// A caller's context that is sampled out.
#[must_use]
pub fn unsampled() -> Context {
    let mut headers = Headers::new();
    headers.push("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    W3cPropagator::new().extract(&HeaderExtractor(&headers))
}

/// Telemetry with a tracer that records everything and exports nothing.
#[must_use]
pub fn recorded() -> Telemetry {
    spans(Sampler::AlwaysOn).metrics(false).build()
}

/// The same with a meter.
#[must_use]
pub fn all() -> Telemetry {
    spans(Sampler::AlwaysOn).meter_provider(&meters()).build()
}

fn spans(sampler: Sampler) -> kafka_tower::telemetry::TelemetryBuilder {
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    Telemetry::builder().tracer_provider(&tracers).propagator(W3cPropagator::new())
}

/// Collects once a minute, so not during a measurement.
fn meters() -> SdkMeterProvider {
    SdkMeterProvider::builder().with_periodic_exporter(InMemoryMetricExporter::default()).build()
}
