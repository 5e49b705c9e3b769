//! Tests which outcomes a sink's circuit breaker counts as failures of Kafka, and which are neutral.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use kafka_tower::layers::KafkaServiceBuilderExt;
use kafka_tower::layers::circuit_breaker::{CircuitBreakerLayer, CircuitState};
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{
    BoxError, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, Persistence, Record, Recovery, Result, SinkMessage,
};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;
use tower::{Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

async fn sink(kafka: &MemoryKafka, config: KafkaSinkConfig, records: usize) -> KafkaSink<u32> {
    let config = KafkaSinkConfig { topic: "orders".into(), ..config };
    let transport = kafka.transport_with(Limits { records, bytes: 1 << 20 });
    KafkaSink::builder(config).transport(transport).build().await.unwrap()
}

fn patience(millis: u64) -> KafkaSinkConfig {
    KafkaSinkConfig { send_timeout_ms: millis, ..Default::default() }
}

/// A Kafka that never answers.
fn silent() -> MemoryKafka {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    kafka.script().always().delay_append(36_000 * SECOND);
    kafka
}

fn state(sink: &KafkaSink<u32>) -> CircuitState {
    sink.circuit_breaker().unwrap().state()
}

async fn trips(sink: &KafkaSink<u32>) -> u64 {
    let trips = sink.circuit_breaker().unwrap().trips();
    assert_eq!(sink.metrics().await.circuit_breaker_trips, trips);
    trips
}

fn tally<T>(results: &[Result<T>]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for result in results {
        let outcome = match result.as_ref().map_err(|error| (error.kind(), error.persistence())) {
            Ok(_) => "delivered",
            Err((ErrorKind::Timeout, Persistence::NotPersisted)) => "no room",
            Err((ErrorKind::Timeout, _)) => "late",
            Err((ErrorKind::CircuitOpen, _)) => "refused",
            Err(_) => "other",
        };
        *tally.entry(outcome).or_default() += 1;
    }
    tally
}

/// A user's own stack with a filter that refuses records of more than 10 bytes.
fn filtered(kafka: &MemoryKafka, refusal: fn() -> BoxError) -> KafkaSink<String> {
    let transport = kafka.transport();
    let control = transport.control();
    let stack = ServiceBuilder::new()
        .serialize_json("orders")
        .circuit_breaker(CircuitBreakerLayer::default())
        .filter(move |record: Record| if record.size() > 10 { Err(refusal()) } else { Ok(record) })
        .service(transport);
    KafkaSink::from_service(stack, control, Duration::from_secs(5))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_users_layer_is_neutral() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let sink = filtered(&kafka, || std::io::Error::other(Error::refused("more than 10 bytes")).into());
    for _ in 0..20 {
        let error = sink.send("x".repeat(20)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.persistence(), error.recovery(), error.message()),
            (ErrorKind::Refused, Persistence::NotPersisted, Recovery::Reject, "more than 10 bytes")
        );
    }
    sink.send("ok".to_owned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_record_of_an_unknown_error_is_possibly_persisted() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let sink = filtered(&kafka, || "more than 10 bytes".into());
    let error = sink.send("x".repeat(20)).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Unknown, Persistence::PossiblyPersisted));
    assert_eq!(error.kind().to_string(), "unknown");
    assert_eq!(error.error_type(), "_OTHER", "OpenTelemetry's name for it");
    sink.send("ok".to_owned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_the_builder_refuses() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    let limit = tower::layer::layer_fn(|inner| {
        let refuse = |message: kafka_tower::SinkMessage<String>| match message.value() {
            Some(value) if value.len() > 10 => Err(BoxError::from(Error::refused("more than 10 bytes"))),
            _ => Ok(message),
        };
        tower::filter::Filter::new(inner, refuse)
    });
    let sink = KafkaSink::<String>::builder(config).layer(limit).transport(kafka.transport()).build().await.unwrap();
    for _ in 0..20 {
        let error = sink.send("x".repeat(20)).await.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Refused, Persistence::NotPersisted));
    }
    assert_eq!(sink.circuit_breaker().unwrap().state(), CircuitState::Closed);
    sink.send("ok".to_owned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_burst_over_a_healthy_kafka_leaves_it_closed() {
    for (records, delay) in [(8, 100), (8, 130), (1, 300), (1, 700), (50, 1_500)] {
        let kafka = MemoryKafka::new().with_topic("orders", 1);
        kafka.script().always().delay(Duration::from_millis(delay));
        let sink = sink(&kafka, patience(2_000), records).await;
        let results = join_all((0..1_000).map(|n| sink.send(n))).await;
        let tally = tally(&results);
        assert!(tally["delivered"] > 0 && tally["no room"] > 0, "{tally:?}");
        assert!(!tally.contains_key("refused") && !tally.contains_key("other"), "{records}, {delay} ms: {tally:?}");
        assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Closed, 0));
        // By then the rest of the burst has been answered.
        sleep(2 * SECOND).await;
        sink.send(0).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn sends_whose_deadline_has_already_passed_are_neutral() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let sink = sink(&kafka, patience(30_000), 100).await;
    for n in 0..20 {
        let message = SinkMessage::new(n).with_deadline(Instant::now() - SECOND);
        let error = sink.send(message).await.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    }
    assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Closed, 0));
    sink.send(0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn callers_that_give_up_in_an_outage_open_the_breaker() {
    // Seconds: the callers' time-out, and when the breaker opens. A send itself times out after 30.
    for (http, opens) in [(10, 50), (1, 5), (60, 150)] {
        let sink = sink(&silent(), patience(30_000), 100).await;
        let begun = Instant::now();
        for n in 0..5 {
            assert_eq!(state(&sink), CircuitState::Closed);
            _ = timeout(http * SECOND, sink.send(n)).await;
        }
        assert_eq!((begun.elapsed().as_secs(), state(&sink), trips(&sink).await), (opens, CircuitState::Open, 1));
        let error = sink.send(5).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::CircuitOpen, opens), "at once: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_that_give_up_early_are_neutral() {
    let sink = sink(&silent(), patience(30_000), 100).await;
    for n in 0..50 {
        _ = timeout(SECOND / 2, sink.send(n)).await;
    }
    assert_eq!(state(&sink), CircuitState::Closed);
    // Waiting for half of a short time budget is enough evidence.
    for n in 0..5 {
        assert_eq!(state(&sink), CircuitState::Closed);
        let message = SinkMessage::new(n).with_deadline(Instant::now() + SECOND);
        _ = timeout(SECOND / 2, sink.send(message)).await;
    }
    assert_eq!(state(&sink), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn callers_that_give_up_while_they_wait_for_room_are_neutral() {
    // One record is in flight; the others are parked or wait at the sink, and are no evidence about Kafka.
    let sink = sink(&silent(), patience(30_000), 1).await;
    let given_up = join_all((0..50).map(|n| timeout(10 * SECOND, sink.send(n)))).await;
    assert!(given_up.iter().all(std::result::Result::is_err));
    assert_eq!(state(&sink), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_meanwhile_makes_time_outs_neutral() {
    let kafka = MemoryKafka::new().with_topic("orders", 2);
    kafka.script().on_partition("orders", 0).always().delay_append(36_000 * SECOND);
    let sink = sink(&kafka, patience(10_000), 100).await;
    let message = |n, partition| SinkMessage::new(n).with_partition(partition);
    for round in 0..5 {
        let stuck = (0..5).map(|n| sink.send(message(n, 0)));
        let (stuck, delivered) = tokio::join!(join_all(stuck), async {
            sleep(5 * SECOND).await;
            sink.send(message(100, 1)).await
        });
        delivered.unwrap();
        assert_eq!(tally(&stuck), BTreeMap::from([("late", 5)]), "{round}");
        assert_eq!(state(&sink), CircuitState::Closed);
    }
    let stuck = join_all((0..5).map(|n| sink.send(message(n, 0)))).await;
    assert_eq!(tally(&stuck), BTreeMap::from([("late", 5)]));
    assert_eq!(state(&sink), CircuitState::Open, "nothing was delivered meanwhile");
}

/// Drops the send if it has no answer within 10 s, and returns whether the breaker opened.
async fn opens_when_given_up<F: Future>(sink: &KafkaSink<u32>, send: F) -> bool {
    assert!(timeout(10 * SECOND, send).await.is_err(), "Kafka does not answer");
    state(sink) == CircuitState::Open
}

#[tokio::test(start_paused = true)]
async fn batches_and_streams_that_are_given_up_in_an_outage_open_the_breaker() {
    let sink5 = sink(&silent(), patience(30_000), 100).await;
    assert!(opens_when_given_up(&sink5, sink5.send_batch(0..5)).await);
    let sink5 = sink(&silent(), patience(30_000), 100).await;
    assert!(opens_when_given_up(&sink5, sink5.send_stream(stream::iter(0..5)).collect::<Vec<_>>()).await);
    let sink5 = sink(&silent(), patience(30_000), 100).await;
    assert!(opens_when_given_up(&sink5, join_all((0..5).map(|n| sink5.send(n)))).await);
    let sink4 = sink(&silent(), patience(30_000), 100).await;
    assert!(
        !opens_when_given_up(&sink4, sink4.send_batch(0..4)).await,
        "four failures are below the threshold of five"
    );
}

#[tokio::test(start_paused = true)]
async fn a_time_out_layer_above_opens_the_breaker_in_an_outage() {
    let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    let builder = KafkaSink::<u32>::builder(config).layer(TimeoutLayer::new(10 * SECOND));
    let sink = builder.transport(silent().transport()).build().await.unwrap();
    for n in 0..5 {
        assert_eq!(state(&sink), CircuitState::Closed);
        assert_eq!(sink.send(n).await.unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Open, 1));
    assert_eq!(sink.send(5).await.unwrap_err().kind(), ErrorKind::CircuitOpen);
}

/// A user's own stack: the breaker over `Timeout` and `Buffer`.
#[tokio::test(start_paused = true)]
async fn a_time_out_layer_below_opens_the_breaker_only_after_a_long_wait() {
    for (within, opens) in [(10 * SECOND, true), (SECOND / 2, false)] {
        let transport = silent().transport();
        let control = transport.control();
        let layer = CircuitBreakerLayer::default();
        let breaker = layer.handle();
        let stack = ServiceBuilder::new()
            .serialize_json("orders")
            .circuit_breaker(layer)
            .layer(TimeoutLayer::new(within))
            .buffer(16)
            .service(transport);
        let sink = KafkaSink::<u32>::from_service(stack, control, 30 * SECOND);
        for n in 0..5 {
            assert_eq!(breaker.state(), CircuitState::Closed);
            assert_eq!(sink.send(n).await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert_eq!(breaker.state() == CircuitState::Open, opens, "{within:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_opens_the_breaker_again_and_blocks_no_other_call() {
    let sink = sink(&silent(), patience(30_000), 100).await;
    for n in 0..5 {
        _ = timeout(10 * SECOND, sink.send(n)).await;
    }
    for round in 1..5 {
        assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Open, round));
        sleep(60 * SECOND).await;
        // Given up too early to be evidence: the next call is a probe again.
        assert!(timeout(SECOND / 2, sink.send(5)).await.is_err());
        assert_eq!(state(&sink), CircuitState::HalfOpen);
        assert!(timeout(10 * SECOND, sink.send(6)).await.is_err());
    }
}

/// The client recovers from an outage by itself. Its late deliveries allow the probe earlier.
#[tokio::test(start_paused = true)]
async fn a_late_delivery_in_the_open_state_brings_the_probe_forward() {
    for http in [10, 60] {
        let kafka = MemoryKafka::new().with_topic("orders", 1);
        let outage = kafka.script().hold_append();
        let sink = sink(&kafka, patience(8_000), 100).await;
        for n in 0..5 {
            _ = timeout(http * SECOND, sink.send(n)).await;
        }
        assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Open, 1));
        sleep(10 * SECOND).await;
        assert_eq!(sink.send(5).await.unwrap_err().kind(), ErrorKind::CircuitOpen);
        outage.release();
        sleep(SECOND / 100).await;
        sink.send(6).await.unwrap();
        assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Closed, 1));
    }
}

/// The callers wait longer than the breaker stays open: their sends are delivered while it is open.
#[tokio::test(start_paused = true)]
async fn a_delivery_of_a_send_from_before_the_trip_brings_the_probe_forward() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let outage = kafka.script().hold_append();
    let sink = sink(&kafka, patience(30_000), 100).await;
    let patient: Vec<_> = (0..3)
        .map(|n| tokio::spawn(sink.send(SinkMessage::new(n).with_deadline(Instant::now() + 300 * SECOND))))
        .collect();
    tokio::task::yield_now().await;
    let failed = join_all((0..5).map(|n| sink.send(n))).await;
    assert_eq!(tally(&failed), BTreeMap::from([("late", 5)]));
    assert_eq!(state(&sink), CircuitState::Open);
    sleep(31 * SECOND).await;
    outage.release();
    for send in patient {
        send.await.unwrap().unwrap();
    }
    sink.send(9).await.unwrap();
    assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_in_the_open_state_changes_nothing() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let no_leader = Error::new(ErrorKind::Broker, "no leader");
    kafka.script().late_by(70 * SECOND).fail(no_leader);
    let sink = sink(&kafka, patience(10_000), 100).await;
    let failed = join_all((0..5).map(|n| sink.send(n))).await;
    assert_eq!(tally(&failed), BTreeMap::from([("late", 5)]));
    // The breaker is open from 10 s to 70 s.
    sleep(59 * SECOND).await;
    assert_eq!(sink.send(5).await.unwrap_err().kind(), ErrorKind::CircuitOpen);
    assert_eq!((state(&sink), trips(&sink).await), (CircuitState::Open, 1));
}

/// A user's own classifier decides, and may leave time-outs to the default one.
#[tokio::test(start_paused = true)]
async fn a_users_own_classifier_decides() {
    use kafka_tower::layers::circuit_breaker::{Classify, DefaultClassifier, Outcome};
    for (delegates, opens) in [(true, false), (false, true)] {
        let kafka = MemoryKafka::new().with_topic("orders", 1);
        kafka.script().always().delay(Duration::from_millis(100));
        let transport = kafka.transport_with(Limits { records: 8, bytes: 1 << 20 });
        let control = transport.control();
        let layer =
            CircuitBreakerLayer::default().classifier(move |result: &Result<kafka_tower::Delivery>| match result {
                Err(error) if error.kind() == ErrorKind::Timeout && !delegates => Outcome::Failure,
                other => DefaultClassifier.classify(other),
            });
        let breaker = layer.handle();
        let stack = ServiceBuilder::new().serialize_json("orders").circuit_breaker(layer).service(transport);
        let sink = KafkaSink::<u32>::from_service(stack, control, 2 * SECOND);
        // All handles are ready before the first call, so that most sends time out in the transport.
        let mut handles: Vec<_> = (0..1_000).map(|_| sink.clone()).collect();
        for handle in &mut handles {
            handle.ready().await.unwrap();
        }
        let calls = handles.iter_mut().zip(0..).map(|(handle, n)| handle.call(SinkMessage::new(n)));
        let results = join_all(calls.collect::<Vec<_>>()).await;
        assert!(tally(&results)["no room"] > 0, "{:?}", tally(&results));
        assert_eq!(breaker.trips() > 0, opens, "delegates: {delegates}");
    }
}
