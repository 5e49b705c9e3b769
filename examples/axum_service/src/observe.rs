//! Logs, and one trace from the caller's request to the record.

use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use kafka_tower::Error;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Sets logs and OpenTelemetry up. The provider is shut down at the end, which exports the rest.
pub(crate) fn start() -> SdkTracerProvider {
    let mut tracers = SdkTracerProvider::builder();
    if std::env::var("OTEL_TRACES_EXPORTER").is_ok_and(|exporter| exporter == "console") {
        tracers = tracers.with_simple_exporter(opentelemetry_stdout::SpanExporter::default());
    }
    let tracers = tracers.build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(tracers.clone());
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // The bridge makes each span of `tracing` one of OpenTelemetry, and the current one while it is entered.
    let bridge = tracing_opentelemetry::layer().with_tracer(tracers.tracer("axum_service"));
    tracing_subscriber::registry()
        .with(logs.with_filter(LevelFilter::INFO))
        .with(bridge.with_filter(LevelFilter::INFO))
        .init();
    tracers
}

/// The span of a request: a child of the caller's, by the request's headers. The sends of the handler are its children.
pub(crate) fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    let caller = global::get_text_map_propagator(|w3c| w3c.extract(&HeaderExtractor(request.headers())));
    if span.set_parent(caller).is_err() {
        tracing::debug!("the bridge to OpenTelemetry is not set up");
    }
    span
}

/// Logs the error behind a response, with the text that its caller does not get.
pub(crate) fn answered(response: &Response, latency: Duration, span: &Span) {
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    if let Some(error) = response.extensions().get::<Error>() {
        let (kind, persistence) = (error.kind(), error.persistence().as_str());
        tracing::warn!(status, ?latency, %kind, persistence, "a send failed: {}", error.message());
    }
}
