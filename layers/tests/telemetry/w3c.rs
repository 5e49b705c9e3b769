//! Compares our implementation of W3C's trace context with the SDK's.

use std::collections::HashMap;
use std::sync::mpsc;

use kafka_tower_core::Headers;
use kafka_tower_layers::telemetry::W3cPropagator;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use proptest::prelude::*;

use crate::support::*;

fn written(propagator: &dyn TextMapPropagator, context: &Context) -> HashMap<String, String> {
    let mut headers = HashMap::new();
    propagator.inject_context(context, &mut headers);
    headers.retain(|_, value| !value.is_empty());
    headers
}

fn read(propagator: &dyn TextMapPropagator, headers: &HashMap<String, String>) -> SpanContext {
    propagator.extract_with_context(&Context::new(), headers).span().span_context().clone()
}

fn headers(parent: &str) -> HashMap<String, String> {
    HashMap::from([("traceparent".to_owned(), parent.to_owned())])
}

/// A wrapper that the layer does not recognize as our propagator.
#[derive(Debug)]
struct Other(W3cPropagator);

impl TextMapPropagator for Other {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        self.0.inject_context(context, injector);
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        self.0.extract_with_context(context, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        self.0.fields()
    }
}

/// Returns the headers after a send with this caller's context, and the context that they then contain.
fn passed_on(builder: TelemetryBuilder, headers: &Headers, caller: &Context) -> (Headers, SpanContext) {
    let telemetry = builder.spans(false).metrics(false).build();
    let (sent, received) = mpsc::channel();
    let mut orders = telemetry.layer("orders").layer(tower::service_fn(move |record: Record| {
        sent.send(record.headers).unwrap();
        std::future::ready(Ok::<_, Error>(Delivery::new("orders", 0)))
    }));
    let _current = caller.clone().attach();
    drop(orders.call(Record::new("orders").with_headers(headers.clone())));
    let headers = received.recv().unwrap();
    let context = telemetry.extract(&headers).span().span_context().clone();
    (headers, context)
}

/// Creates a context; zero ids are invalid.
fn context(trace: u128, span: u64, flags: u8, state: Option<(String, String)>) -> Context {
    let state = state.map_or(TraceState::NONE, |pair| TraceState::from_key_value([pair]).unwrap());
    let context = SpanContext::new(TraceId::from(trace), SpanId::from(span), TraceFlags::new(flags), true, state);
    Context::new().with_remote_span_context(context)
}

proptest! {
    /// The layer writes our propagator's headers without calling it; the result must be the same.
    #[test]
    fn the_layer_writes_the_same_headers_as_the_propagator(
        headers in prop::collection::vec((0..4usize, 0..5usize), 0..5),
        trace in prop_oneof![Just(0), any::<u128>()],
        span in 1..u64::MAX,
        flags: u8,
        state in prop::option::of(("[a-z]{1,8}", "[a-z0-9]{1,8}")),
    ) {
        const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        let values = [format!("00-{IDS}-01"), format!("00-{IDS}-00"), "00-gibberish".into(), "a=b".into(), String::new()];
        let mut before = Headers::new();
        for (key, value) in headers {
            before.push(["traceparent", "tracestate", "baggage", "a"][key], values[value].clone());
        }
        let caller = context(trace, span, flags, state);
        let ours = passed_on(Telemetry::builder().propagator(W3cPropagator::new()), &before, &caller);
        prop_assert_eq!(ours, passed_on(Telemetry::builder().propagator(Other(W3cPropagator::new())), &before, &caller));
    }

    #[test]
    fn what_is_written_is_the_same_and_is_read_again(
        trace: u128, span: u64, flags: u8, state in prop::option::of(("[a-z]{1,8}", "[a-z0-9]{1,8}")),
    ) {
        let context = context(trace, span, flags, state);
        let ours = written(&W3cPropagator::new(), &context);
        prop_assert_eq!(&ours, &written(&TraceContextPropagator::new(), &context));
        prop_assert_eq!(read(&W3cPropagator::new(), &ours), read(&TraceContextPropagator::new(), &ours));
        prop_assert_eq!(read(&W3cPropagator::new(), &ours).is_valid(), trace != 0 && span != 0);
    }

    /// The SDK reads everything that we read; it also accepts more than the recommendation allows.
    #[test]
    fn the_sdk_reads_every_context_that_we_read(
        text in "[0-9a-fA-F]{0,3}-[0-9a-fg]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-[a-z]{0,3})?",
    ) {
        let ours = read(&W3cPropagator::new(), &headers(&text));
        if ours.is_valid() {
            prop_assert_eq!(ours, read(&TraceContextPropagator::new(), &headers(&text)));
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,80}") {
        read(&W3cPropagator::new(), &headers(&text));
    }
}

#[test]
fn versions_and_lengths_are_those_of_the_recommendation() {
    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    for (text, valid) in [
        (format!("00-{IDS}-01"), true),
        (format!(" 00-{IDS}-01\t"), true),
        (format!("00-{IDS}-01-more"), false),
        (format!("01-{IDS}-01-more"), true),
        (format!("01-{IDS}-01more"), false),
        (format!("ff-{IDS}-01"), false),
        (format!("00-{IDS}-1"), false),
        (format!("0-{IDS}-01"), false),
        (format!("00-{}-01", IDS.to_uppercase()), false),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01".to_owned(), false),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01".to_owned(), false),
    ] {
        assert_eq!(read(&W3cPropagator::new(), &headers(&text)).is_valid(), valid, "{text}");
    }
    assert_eq!(W3cPropagator::new().fields().collect::<Vec<_>>(), ["traceparent", "tracestate"]);
}
