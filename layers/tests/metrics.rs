//! Tests of `Metered` and `CountBytes`: each send counts once, by the result that its caller got.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::{BoxError, Delivery, Error, ErrorKind, Persistence, Record, Result};
use kafka_tower_layers::metrics::{CountBytes, Metered, Metrics, MetricsLayer, SinkMetrics};
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

const MS: Duration = Duration::from_millis(1);

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 1)
}

fn order(value: &str) -> Record {
    Record::new("orders").with_value(value.to_owned())
}

fn stack(kafka: &MemoryKafka) -> (Metrics, Metered<CountBytes<MemoryTransport>>) {
    let metrics = Metrics::new();
    let stack = MetricsLayer::new(metrics.clone()).layer(metrics.bytes_layer().layer(kafka.transport()));
    (metrics, stack)
}

async fn call<S: Service<Record, Response = Delivery, Error = Error>>(service: &mut S, record: Record) -> S::Future {
    service.ready().await.unwrap().call(record)
}

/// Sent, failed, abandoned, bytes.
fn counts(metrics: &Metrics) -> (u64, u64, u64, u64) {
    let SinkMetrics { messages_sent, messages_failed, abandoned, bytes_sent, .. } = metrics.snapshot();
    (messages_sent, messages_failed, abandoned, bytes_sent)
}

fn without_time(mut metrics: SinkMetrics) -> SinkMetrics {
    metrics.uptime = Duration::ZERO;
    metrics
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn the_snapshot_has_the_names_of_the_guide() {
    let metrics = Metrics::new().snapshot();
    let text = format!(
        "Messages sent: {}, failed: {}, average: {}us, max: {}us, bytes: {}, retries: {}, trips: {}",
        metrics.messages_sent,
        metrics.messages_failed,
        metrics.avg_latency_us,
        metrics.max_latency_us,
        metrics.bytes_sent,
        metrics.retries,
        metrics.circuit_breaker_trips,
    );
    assert_eq!(text, "Messages sent: 0, failed: 0, average: 0us, max: 0us, bytes: 0, retries: 0, trips: 0");
    if let Some(ref err) = metrics.last_error_msg {
        panic!("Last error: {err}");
    }
    assert_eq!(without_time(metrics), SinkMetrics::default());
}

#[tokio::test(start_paused = true)]
async fn latency_is_from_call_to_answer() {
    let kafka = kafka();
    let (metrics, mut service) = stack(&kafka);
    for millis in [10, 60, 20] {
        let _rule = kafka.script().delay(millis * MS);
        let future = call(&mut service, order("x")).await;
        // A late poll counts as latency.
        tokio::time::advance(MS).await;
        future.await.unwrap();
    }
    let metrics = metrics.snapshot();
    assert_eq!((metrics.messages_sent, metrics.avg_latency_us, metrics.max_latency_us), (3, 30_000, 60_000));
    let percentiles = [metrics.p50_latency_us, metrics.p90_latency_us, metrics.p99_latency_us];
    assert!((20_000..25_000).contains(&percentiles[0]), "{percentiles:?}");
    assert_eq!(percentiles[1..], [60_000, 60_000], "the largest is known exactly");
}

/// Spends time inside `call`, as encoding does.
#[derive(Clone)]
struct Slow;

impl Service<Record> for Slow {
    type Response = Delivery;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Delivery, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        let mut advance = std::pin::pin!(tokio::time::advance(5 * MS));
        while poll(advance.as_mut()).is_pending() {}
        std::future::ready(if record.value.is_some() { Ok(Delivery::new(record.topic, 0)) } else { Err("odd".into()) })
    }
}

#[tokio::test(start_paused = true)]
async fn work_inside_call_is_part_of_the_latency() {
    let metrics = Metrics::new();
    MetricsLayer::new(metrics.clone()).layer(Slow).oneshot(order("x")).await.unwrap();
    assert_eq!(metrics.snapshot().max_latency_us, 5_000);
}

#[tokio::test(start_paused = true)]
async fn errors_of_a_foreign_service_are_converted() {
    let metrics = Metrics::new();
    let stack = MetricsLayer::new(metrics.clone()).layer(metrics.bytes_layer().layer(Slow));
    let error = stack.oneshot(Record::new("orders").with_key("k")).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Unknown, Persistence::PossiblyPersisted));
    assert_eq!(counts(&metrics), (0, 1, 0, 0));
    assert_eq!(metrics.snapshot().last_error_msg.unwrap(), error.message_with_causes());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_a_delivery_and_has_no_latency() {
    let kafka = kafka();
    let (metrics, mut service) = stack(&kafka);
    kafka.script().late_by(500 * MS).fail(Error::new(ErrorKind::Broker, "not now"));
    kafka.script().after(1).late_by(MS).fail(Error::new(ErrorKind::Rejected, "not so"));
    for _ in 0..2 {
        call(&mut service, order("four")).await.await.unwrap_err();
    }
    assert_eq!(counts(&metrics), (0, 2, 0, 0));
    let failed = metrics.snapshot();
    assert_eq!((failed.avg_latency_us, failed.max_latency_us, failed.p99_latency_us), (0, 0, 0));
    assert_eq!(failed.last_error_msg.as_deref(), Some("not so"), "the last one");

    call(&mut service, order("four")).await.await.unwrap();
    assert_eq!(counts(&metrics), (1, 2, 0, 4));
    assert_eq!(metrics.snapshot().last_error_msg, failed.last_error_msg, "it stays");
}

#[tokio::test(start_paused = true)]
async fn a_late_report_changes_nothing() {
    let kafka = kafka();
    let (metrics, mut service) = stack(&kafka);
    let _rule = kafka.script().delay(100 * MS);
    let record = order("x").with_expires_at(Instant::now() + MS);
    let error = call(&mut service, record).await.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    tokio::time::advance(200 * MS).await;
    service.get_ref().get_ref().control().flush().await.unwrap();
    assert_eq!(kafka.len("orders"), 1);
    assert_eq!(counts(&metrics), (0, 1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_before_its_answer_is_abandoned() {
    let kafka = kafka();
    let (metrics, mut service) = stack(&kafka);
    drop(call(&mut service, order("never polled")).await);
    assert_eq!(counts(&metrics), (0, 0, 1, 0));

    let hold = kafka.script().hold();
    let mut polled = Box::pin(call(&mut service, order("polled")).await);
    assert!(poll(polled.as_mut()).is_pending());
    assert_eq!(counts(&metrics), (0, 0, 1, 0), "not yet");
    drop(polled);
    hold.release();
    service.get_ref().get_ref().control().flush().await.unwrap();
    assert_eq!(counts(&metrics), (0, 0, 2, 0), "the record went on, its caller did not");
    assert_eq!(kafka.len("orders"), 2);
}

#[tokio::test]
async fn an_answered_future_that_is_dropped_counts_once() {
    let kafka = kafka();
    let (metrics, mut service) = stack(&kafka);
    let mut future = Box::pin(call(&mut service, order("x")).await);
    assert!(poll(future.as_mut()).is_ready());
    drop(future);
    assert_eq!(counts(&metrics), (1, 0, 0, 1));
}

#[tokio::test]
async fn bytes_are_keys_values_and_headers() {
    let (metrics, service) = stack(&kafka());
    let mut record = order("value").with_key("key");
    record.headers.push("name", "header");
    service.oneshot(record).await.unwrap();
    assert_eq!(metrics.snapshot().bytes_sent, 5 + 3 + 4 + 6);
}

#[tokio::test]
async fn clones_and_layers_share_their_counts() {
    let kafka = kafka();
    let (metrics, service) = stack(&kafka);
    let layer = MetricsLayer::new(metrics.clone());
    for service in [service.clone(), service, layer.clone().layer(metrics.bytes_layer().layer(kafka.transport()))] {
        service.oneshot(order("x")).await.unwrap();
    }
    layer.layer(kafka.transport()).oneshot(order("x")).await.unwrap();
    assert_eq!(counts(&metrics), (4, 0, 0, 3));
}

#[tokio::test]
async fn call_order_is_log_order() {
    let kafka = kafka();
    let (_, mut service) = stack(&kafka);
    let first = call(&mut service, order("1")).await;
    let second = call(&mut service, order("2")).await;
    assert_eq!(second.await.unwrap().offset, Some(1), "the calls have their places before a future is polled");
    assert_eq!(first.await.unwrap().offset, Some(0));
}

/// Pending at first, then fails for ever.
struct Finished(bool);

impl Service<Record> for Finished {
    type Response = Delivery;
    type Error = Error;
    type Future = std::future::Ready<Result<Delivery>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Err(Error::new(ErrorKind::Closed, "over")));
        }
        Poll::Pending
    }

    fn call(&mut self, _: Record) -> Self::Future {
        unreachable!("never ready")
    }
}

#[test]
fn readiness_passes_through_and_is_not_counted() {
    let metrics = Metrics::new();
    let mut service = MetricsLayer::new(metrics.clone()).layer(metrics.bytes_layer().layer(Finished(false)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_pending());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Err(error)) if error.kind() == ErrorKind::Closed));
    assert_eq!(without_time(metrics.snapshot()), SinkMetrics::default());
}

#[test]
fn other_parts_record_retries_and_trips() {
    let metrics = Metrics::new();
    let hook: Arc<dyn Fn() + Send + Sync> = {
        let metrics = metrics.clone();
        Arc::new(move || metrics.record_retry())
    };
    hook();
    hook();
    metrics.record_trip();
    let metrics = metrics.snapshot();
    assert_eq!((metrics.retries, metrics.circuit_breaker_trips), (2, 1));
}

#[test]
fn no_count_is_lost_between_threads() {
    let metrics = Metrics::new();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (metrics, start) = (metrics.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..40_000 {
                    metrics.record_delivered(Duration::from_micros(thread * 40_000 + n));
                    metrics.record_bytes(3);
                    metrics.record_retry();
                }
                metrics.record_failed(&Error::new(ErrorKind::Broker, "not now"));
            });
        }
    });
    assert_eq!(counts(&metrics), (160_000, 4, 0, 480_000));
    let metrics = metrics.snapshot();
    assert_eq!((metrics.retries, metrics.max_latency_us, metrics.avg_latency_us), (160_000, 159_999, 79_999));
    assert!((79_999..99_999).contains(&metrics.p50_latency_us));
}

#[test]
fn the_clock_needs_no_runtime() {
    let (metrics, mut service) = stack(&kafka());
    let waker = Waker::noop();
    assert!(service.poll_ready(&mut Context::from_waker(waker)).is_ready());
    let mut future = Box::pin(service.call(order("x")));
    assert!(poll(future.as_mut()).is_ready());
    assert_eq!(counts(&metrics), (1, 0, 0, 1));
}

#[test]
fn the_last_error_holds_no_record() {
    struct Value(Arc<[u8]>);
    impl AsRef<[u8]> for Value {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let (held, metrics) = (Arc::<[u8]>::from(*b"large"), Metrics::new());
    let record = Record::new("orders").with_value(bytes::Bytes::from_owner(Value(Arc::clone(&held))));
    metrics.record_failed(&Error::new(ErrorKind::Broker, "not now").with_record(record));
    assert_eq!(Arc::strong_count(&held), 1);
}
