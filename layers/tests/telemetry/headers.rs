//! Tests of the context in a record's headers.

use kafka_tower_core::Headers;
use kafka_tower_layers::telemetry::{HeaderExtractor, HeaderInjector, extract};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator};
use opentelemetry::trace::noop::NoopTracerProvider;
use opentelemetry_sdk::propagation::BaggagePropagator;

use crate::support::*;

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(kafka: &MemoryKafka) -> Vec<(String, String)> {
    let records = kafka.records("orders");
    let headers = records[0].record.headers.iter();
    headers.map(|h| (h.key.to_string(), String::from_utf8(h.value.clone().unwrap().to_vec()).unwrap())).collect()
}

fn w3c(context: &opentelemetry::trace::SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags())
}

#[tokio::test(start_paused = true)]
async fn the_context_is_written_once_and_no_header_is_empty() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().times(2).fail(no_leader());
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), "x".to_owned()).await.unwrap();
    let span = backend.span("send orders").span_context;
    assert_eq!(
        headers(&kafka),
        [("traceparent".to_owned(), w3c(&span))],
        "no tracestate, and no second one by a retry"
    );
}

#[tokio::test]
async fn a_context_of_the_message_is_kept_and_linked() {
    let (backend, kafka) = (Backend::new(), kafka());
    let message = SinkMessage::new("x".to_owned()).with_header("traceparent", GIVEN).with_header("tracestate", "a=b");
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), message).await.unwrap();
    let expected = [("traceparent", GIVEN), ("tracestate", "a=b")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(headers(&kafka), expected);
    let span = backend.span("send orders");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.links[0].span_context.span_id().to_string(), "00f067aa0ba902b7");
}

#[tokio::test]
async fn an_invalid_context_is_replaced() {
    let (backend, kafka) = (Backend::new(), kafka());
    let message = SinkMessage::new("x".to_owned()).with_header("traceparent", "00-gibberish");
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), message).await.unwrap();
    let span = backend.span("send orders");
    assert_eq!(headers(&kafka), [("traceparent".to_owned(), w3c(&span.span_context))]);
    assert_eq!(span.span_kind, SpanKind::Producer);
}

/// A forwarded message may have a `tracestate` without the `traceparent` that it belongs to.
#[tokio::test]
async fn a_tracestate_without_a_valid_traceparent_is_removed() {
    for traceparent in [Some("00-gibberish"), None] {
        let (backend, kafka) = (Backend::new(), kafka());
        let mut message = SinkMessage::new("x".to_owned()).with_header("tracestate", "theirs=1").with_header("a", "b");
        if let Some(traceparent) = traceparent {
            message = message.with_header("traceparent", traceparent);
        }
        send(&mut stack(&backend.telemetry().layer("orders"), &kafka), message).await.unwrap();
        let span = backend.span("send orders");
        let expected = [("a".to_owned(), "b".to_owned()), ("traceparent".to_owned(), w3c(&span.span_context))];
        assert_eq!(headers(&kafka), expected);
    }
}

#[tokio::test]
async fn baggage_is_written_only_on_request() {
    let composite = || {
        TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ])
    };
    for (chosen, own, expected) in
        [(false, None, None), (true, None, Some("user=ada")), (true, Some("mine=1"), Some("mine=1"))]
    {
        let (backend, kafka) = (Backend::new(), kafka());
        let telemetry = backend.builder().propagator(composite()).baggage(chosen).build();
        let mut orders = stack(&telemetry.layer("orders"), &kafka);
        let ready = orders.ready().await.unwrap();
        let mut message = SinkMessage::new("x".to_owned());
        if let Some(own) = own {
            message = message.with_header("baggage", own);
        }
        let future = {
            let _current = Context::current_with_baggage([KeyValue::new("user", "ada")]).attach();
            ready.call(message)
        };
        future.await.unwrap();
        let headers = headers(&kafka);
        let baggage: Vec<_> = headers.iter().filter(|(key, _)| key == "baggage").map(|(_, value)| value).collect();
        assert_eq!(baggage.first().map(|value| value.as_str()), expected);
        assert!(baggage.len() <= 1);
        assert!(headers.iter().any(|(key, _)| key == "traceparent"));
    }
}

/// Also without a span context, and where nothing is recorded.
#[tokio::test]
async fn baggage_is_passed_on_without_a_provider() {
    for chosen in [false, true] {
        let kafka = kafka();
        let builder = Telemetry::builder().spans(false).metrics(false).propagator(BaggagePropagator::new());
        let mut orders = stack(&builder.baggage(chosen).build().layer("orders"), &kafka);
        for place in 0..2 {
            let ready = orders.ready().await.unwrap();
            let future = {
                let _current = Context::current_with_baggage([KeyValue::new("user", "ada")]).attach();
                ready.call(SinkMessage::new("x".to_owned()))
            };
            future.await.unwrap();
            assert_eq!(kafka.records("orders")[place].record.headers.contains("baggage"), chosen);
        }
    }
}

#[tokio::test]
async fn without_propagation_no_header_is_written() {
    let (backend, kafka) = (Backend::new(), kafka());
    let telemetry = backend.builder().propagation(false).build();
    send(&mut stack(&telemetry.layer("orders"), &kafka), "x".to_owned()).await.unwrap();
    assert!(headers(&kafka).is_empty());
    assert_eq!(backend.spans().len(), 1);
}

/// The application's trace continues if the sink creates no spans or there is no tracer.
#[tokio::test]
async fn the_applications_context_is_passed_on() {
    for spans in [false, true] {
        let (backend, kafka) = (Backend::new(), kafka());
        let builder = Telemetry::builder().propagator(TraceContextPropagator::new()).metrics(false);
        let telemetry = match spans {
            false => builder.spans(false).build(),
            true => builder.tracer_provider(&NoopTracerProvider::new()).build(),
        };
        let mut orders = stack(&telemetry.layer("orders"), &kafka);
        let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
        for place in 0..2 {
            let ready = orders.ready().await.unwrap();
            let future = {
                let _current = request.clone().attach();
                ready.call(SinkMessage::new("x".to_owned()))
            };
            future.await.unwrap();
            let header = kafka.records("orders")[place].record.headers.get("traceparent").cloned().unwrap();
            assert_eq!(header, w3c(request.span().span_context()));
        }
        assert!(backend.spans().is_empty());
        // No current context: nothing is written.
        send(&mut orders, "y".to_owned()).await.unwrap();
        assert!(kafka.records("orders")[2].record.headers.is_empty());
    }
}

#[tokio::test]
async fn the_headers_say_that_a_span_is_sampled_out() {
    let (backend, kafka) = (Backend::sampling(Sampler::AlwaysOff), kafka());
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), "x".to_owned()).await.unwrap();
    let headers = headers(&kafka);
    assert!(headers[0].1.ends_with("-00"), "{headers:?}");
    assert!(backend.spans().is_empty());
}

#[test]
fn a_consumer_reads_what_was_written() {
    let telemetry = Backend::new().telemetry();
    let mut headers = Headers::new();
    assert!(!telemetry.extract(&headers).span().span_context().is_valid());
    headers.push("traceparent", "00-00000000000000000000000000000001-0000000000000001-01");
    headers.push("traceparent", GIVEN);
    let context = telemetry.extract(&headers);
    assert_eq!(w3c(context.span().span_context()), GIVEN, "the last one counts");
    assert!(context.span().span_context().is_remote());
}

/// Without a global propagator, `extract` does not return the thread's current context.
#[test]
fn without_a_propagator_there_is_no_context() {
    let backend = Backend::new();
    let _current = Context::current_with_span(backend.tracers.tracer("app").start("request")).attach();
    let mut headers = Headers::new();
    headers.push("traceparent", GIVEN);
    assert!(!extract(&headers).span().span_context().is_valid());
}

#[test]
fn extract_reads_the_last_header_and_inject_replaces_all_of_a_name() {
    let mut headers = Headers::new();
    headers.push("a", "1");
    headers.push("a", "2");
    headers.push("raw", &b"\xff"[..]);
    headers.push_null("null");
    let read = HeaderExtractor(&headers);
    assert_eq!((read.get("a"), read.get("raw"), read.get("null"), read.get("none")), (Some("2"), None, None, None));
    assert_eq!(read.keys(), ["a", "a", "raw", "null"]);
    let mut write = HeaderInjector(&mut headers);
    write.set("a", "3".to_owned());
    write.set("b", String::new());
    assert_eq!(headers.iter().filter(|h| h.key == "a").count(), 1);
    assert!(!headers.contains("b"));
}

#[tokio::test]
async fn a_parent_that_is_sampled_out_is_followed_by_opt_in() {
    for metrics in [false, true] {
        let (backend, kafka) = (Backend::new(), kafka());
        let builder = backend.builder().follow_parent(true);
        let telemetry = if metrics { builder.build() } else { builder.metrics(false).build() };
        let mut orders = stack(&telemetry.layer("orders"), &kafka);
        let unsampled = GIVEN.replace("-01", "-00");
        let mut headers = Headers::new();
        headers.push("traceparent", unsampled.clone());
        let ready = orders.ready().await.unwrap();
        let future = {
            let _current = telemetry.extract(&headers).attach();
            ready.call(SinkMessage::new("x".to_owned()))
        };
        future.await.unwrap();
        assert!(backend.spans().is_empty(), "the sampler, which wants all, was not asked");
        assert_eq!(kafka.records("orders")[0].record.headers.get("traceparent").unwrap(), &unsampled);
        // Without a parent, or with a sampled one, the sampler is called.
        send(&mut orders, "y".to_owned()).await.unwrap();
        let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
        let ready = orders.ready().await.unwrap();
        let future = {
            let _current = request.clone().attach();
            ready.call(SinkMessage::new("z".to_owned()))
        };
        future.await.unwrap();
        assert_eq!(backend.spans().len(), 2);
    }
}
