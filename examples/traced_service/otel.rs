//! OpenTelemetry's SDK, set up once per program: the destination of spans and metrics.

use std::env;
use std::error::Error;

use opentelemetry::global;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::post::Post;

/// Must be stopped at the end of the program, which exports the rest.
pub(crate) struct Otel {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    /// The destination, for display.
    pub(crate) place: String,
}

/// Exports to `OTEL_EXPORTER_OTLP_ENDPOINT`, otherwise prints.
pub(crate) fn start(service: &'static str) -> Result<Otel, Box<dyn Error>> {
    let resource = Resource::builder().with_service_name(service).build();
    let (tracers, meters) = (SdkTracerProvider::builder(), SdkMeterProvider::builder());
    let (tracers, meters, place) = match env::var("OTEL_EXPORTER_OTLP_ENDPOINT") {
        Ok(endpoint) => {
            // The default features of opentelemetry-otlp include a client, so that it need not be set.
            let spans = opentelemetry_otlp::SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            let metrics = opentelemetry_otlp::MetricExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            (
                tracers.with_batch_exporter(spans.with_http_client(Post).build()?),
                meters.with_reader(PeriodicReader::builder(metrics.with_http_client(Post).build()?).build()),
                endpoint,
            )
        }
        Err(_) => (
            tracers.with_simple_exporter(opentelemetry_stdout::SpanExporter::default()),
            meters.with_reader(PeriodicReader::builder(opentelemetry_stdout::MetricExporter::default()).build()),
            "the lines above".to_owned(),
        ),
    };
    let (tracers, meters) = (tracers.with_resource(resource.clone()).build(), meters.with_resource(resource).build());
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(tracers.clone());
    global::set_meter_provider(meters.clone());
    Ok(Otel { tracers, meters, place })
}

impl Otel {
    pub(crate) fn stop(&self) -> Result<(), Box<dyn Error>> {
        self.tracers.shutdown()?;
        Ok(self.meters.shutdown()?)
    }
}
