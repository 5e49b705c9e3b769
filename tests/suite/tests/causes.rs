//! A time-out's error names what kept the record from being delivered, and no cause that had ended before.
#![allow(clippy::unwrap_used)] // a test may fail

use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record, Recovery, Result};
use kafka_tower_rdkafka::{ClientError, ClientEvents, MockCluster, RdkafkaBuilder, RdkafkaTransport};
use kafka_tower_test_texts::faults;
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use tokio::sync::Notify;
use tower::{Service, ServiceExt};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the texts of WARN lines.
struct Warnings;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        if *event.metadata().level() == tracing::Level::WARN {
            let mut text = Text(String::new());
            event.record(&mut text);
            WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).push(text.0);
        }
    }
}

/// Returns whether a WARN line contains all parts. Every test uses its own topics.
fn warned(parts: &[&str]) -> bool {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::registry().with(Warnings).init());
}

async fn mock(topic: &str) -> (MockCluster, RdkafkaTransport) {
    listen();
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic(topic, 2).unwrap();
    let transport = builder(mock.bootstrap(), topic).connect().await.unwrap();
    (mock, transport)
}

fn builder(bootstrap: &str, topic: &str) -> RdkafkaBuilder {
    RdkafkaTransport::builder().property("bootstrap.servers", bootstrap).topic(topic)
}

async fn send(transport: &mut RdkafkaTransport, topic: &str, partition: i32, within: Duration) -> Result<Delivery> {
    let record = Record::new(topic).with_value("x").with_partition(partition).with_expires_at(Instant::now() + within);
    transport.ready().await.unwrap().call(record).await
}

const SOON: Duration = Duration::from_millis(2_500);

fn is_time_out(error: &Error) -> bool {
    (error.kind(), error.persistence()) == (ErrorKind::Timeout, Persistence::PossiblyPersisted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_codes_that_librdkafka_retries_are_named() {
    let one = async |code: i32, name: &str| {
        let topic = format!("code-{code}");
        let (mock, mut transport) = mock(&topic).await;
        mock.fail_produce(&vec![code; 500]);
        let error = send(&mut transport, &topic, 0, SOON).await.unwrap_err();
        assert!(is_time_out(&error), "{error:#}");
        assert!(error.message().contains(&format!("{topic}[0]")) && error.message().contains(name), "{error}");
        assert!(warned(&[&topic, name]), "no line for {name}");
        let last = transport.control().last_error().unwrap();
        assert!(last.contains(name), "{last}");
    };
    tokio::join!(
        one(19, "NOT_ENOUGH_REPLICAS"),
        one(7, "REQUEST_TIMED_OUT"),
        one(6, "NOT_LEADER_OR_FOLLOWER"),
        one(56, "KAFKA_STORAGE_ERROR"),
        one(2, "CORRUPT_MESSAGE"),
        one(20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_of_one_second_names_its_code() {
    let (mock, mut transport) = mock("short").await;
    mock.fail_produce(&[19; 500]);
    let error = send(&mut transport, "short", 0, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.message().contains("NOT_ENOUGH_REPLICAS"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cause_that_ended_is_not_named() {
    let (mock, mut transport) = mock("ended").await;
    // Five failing attempts take longer than the record's time. The broker accepts the next attempt.
    mock.fail_produce(&[19; 5]);
    let error = send(&mut transport, "ended", 0, Duration::from_millis(1_100)).await.unwrap_err();
    assert!(error.message().contains("NOT_ENOUGH_REPLICAS"), "{error}");
    transport.control().flush().await.unwrap();
    assert_eq!(transport.control().last_error(), None);
    // The next time-out has another cause, and names only that.
    mock.set_round_trip(1, Duration::from_secs(60)).unwrap();
    let error = send(&mut transport, "ended", 0, SOON).await.unwrap_err();
    assert!(!error.message().contains("REPLICAS"), "{error}");
    assert!(error.message().contains("has not answered for 2."), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_is_named() {
    let (mock, mut transport) = mock("silent").await;
    send(&mut transport, "silent", 0, SOON).await.unwrap();
    mock.set_round_trip(1, Duration::from_secs(60)).unwrap();
    let error = send(&mut transport, "silent", 0, SOON).await.unwrap_err();
    assert!(is_time_out(&error), "{error:#}");
    assert!(
        error.message().contains(mock.bootstrap()) && error.message().contains("/1 has not answered for 2."),
        "{error}"
    );
    assert!(warned(&["silent", "has not answered"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_another_partition_is_not_named() {
    let (mock, mut transport) = mock("neighbour").await;
    mock.fail_produce(&[19; 500]);
    let mut other = transport.clone();
    let bad = send(&mut transport, "neighbour", 1, SOON).await.unwrap_err();
    assert!(bad.message().contains("neighbour[1]"), "{bad}");
    mock.set_round_trip(1, Duration::from_secs(60)).unwrap();
    let error = send(&mut other, "neighbour", 0, SOON).await.unwrap_err();
    assert!(!error.message().contains("neighbour[1]") && !error.message().contains("REPLICAS"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_names_the_cause() {
    listen();
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("sink", 1).unwrap();
    let config = KafkaSinkConfig {
        brokers: mock.bootstrap().into(),
        topic: "sink".into(),
        send_timeout_ms: 2_500,
        ..Default::default()
    };
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    mock.fail_produce(&[19; 500]);
    let error = sink.send("x".to_string()).await.unwrap_err();
    assert!(format!("{error:#}").contains("NOT_ENOUGH_REPLICAS"), "{error:#}");
    assert!(sink.control().last_error().unwrap().contains("NOT_ENOUGH_REPLICAS"));
}

/// Three brokers: a quota, an unavailable coordinator, missing replicas.
#[tokio::test(flavor = "multi_thread")]
async fn the_causes_of_a_real_kafka_are_named() {
    listen();
    let builder = Cluster::builder().brokers(3).property("transaction.state.log.replication.factor", "4");
    let Some(kafka) = builder.start().await.unwrap() else { return };
    the_time_out_of_a_throttled_client_says_so(&kafka).await;
    a_coordinator_that_cannot_be_had_is_named(&kafka).await;
    missing_replicas_are_named(&kafka).await;
}

/// Notifies about `_ALL_BROKERS_DOWN`.
#[derive(Clone, Default)]
struct AllDown(Arc<Notify>);

impl ClientEvents for AllDown {
    fn error(&self, error: &ClientError<'_>) {
        if error.code == -187 {
            self.0.notify_one();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_broker_closes_is_no_error() {
    listen();
    let builder_of_one = Cluster::builder().property("connections.max.idle.ms", "1500");
    let Some(kafka) = builder_of_one.start().await.unwrap() else { return };
    let topic = kafka.topic("idle", 1).await.unwrap();
    let down = AllDown::default();
    let mut transport = builder(kafka.bootstrap(), &topic).events(down.clone()).connect().await.unwrap();
    send(&mut transport, &topic, 0, 4 * SOON).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), down.0.notified())
        .await
        .expect("the broker closes the idle connection");
    assert_eq!(transport.control().last_error(), None);
    send(&mut transport, &topic, 0, 4 * SOON).await.unwrap();
}

async fn the_time_out_of_a_throttled_client_says_so(kafka: &Cluster) {
    let topic = kafka.topic("quota", 1).await.unwrap();
    kafka.limit_producers("limited", 100).await.unwrap();
    let builder = builder(kafka.bootstrap(), &topic).property("client.id", "limited").property("max.in.flight", "1");
    let mut transport = builder.property("batch.num.messages", "1").connect().await.unwrap();
    // The broker throttles the client after each answer, so that the last records cannot be answered in time.
    let expires_at = Instant::now() + 2 * SOON;
    let mut futures = Vec::new();
    for _ in 0..30 {
        let record = Record::new(&*topic).with_value(vec![0; 10_000]).with_partition(0).with_expires_at(expires_at);
        futures.push(transport.ready().await.unwrap().call(record));
    }
    let error = futures.pop().unwrap().await.unwrap_err();
    assert!(error.message().contains("throttles this client"), "{error}");
    // The time-out is marked as throttled, so it is no evidence about Kafka, whether the answer is read or dropped.
    assert!(error.unanswered().unwrap().is_throttled());
    let on_its_way = transport.ready().await.unwrap().call(Record::new(&*topic).with_value("x").with_partition(0));
    let dropped = kafka_tower_core::unanswered::listen(|| drop(on_its_way)).unwrap();
    assert!(dropped.is_throttled() && dropped.handed_over_for().is_some(), "{dropped:?}");
    assert!(warned(&[&topic, "throttles this client"]));
}

async fn a_coordinator_that_cannot_be_had_is_named(kafka: &Cluster) {
    let topic = kafka.topic("coordinator", 1).await.unwrap();
    let transport = builder(kafka.bootstrap(), &topic).property("transactional.id", &*topic).connect().await.unwrap();
    let control = transport.control();
    let error = control.transactions().unwrap().init(Duration::from_secs(4)).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Timeout, Recovery::Retry), "{error:#}");
    let text = format!("{error:#}");
    assert!(text.contains("coordinator") && text.contains("COORDINATOR_NOT_AVAILABLE"), "{text}");
    assert!(text.contains("transaction.state.log.replication.factor"), "{text}");
    assert!(warned(&["no transaction coordinator", "COORDINATOR_NOT_AVAILABLE"]));
}

async fn missing_replicas_are_named(kafka: &Cluster) {
    let topic = kafka.topic_with("replicas", 1, &[("min.insync.replicas", "3")]).await.unwrap();
    let mut transport = builder(kafka.bootstrap(), &topic).connect().await.unwrap();
    send(&mut transport, &topic, 0, 2 * SOON).await.unwrap();
    let leader = kafka.leader(&topic, 0).await.unwrap();
    kafka.terminate(leader % 3 + 1).await.unwrap();
    let error = send(&mut transport, &topic, 0, 2 * SOON).await.unwrap_err();
    assert!(error.message().contains("NOT_ENOUGH_REPLICAS"), "{error}");
    assert!(warned(&[&topic, "NOT_ENOUGH_REPLICAS"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_timeout_above_the_brokers_maximum_fails_at_once() {
    listen();
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("too-long", 1).await.unwrap();
    let transport = builder(kafka.bootstrap(), &topic)
        .property("transactional.id", &*topic)
        .property("transaction.timeout.ms", "2000000000")
        .connect()
        .await
        .unwrap();
    let begun = Instant::now();
    let control = transport.control();
    let error = control.transactions().unwrap().init(Duration::from_secs(60)).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Config, Recovery::Fatal), "{error:#}");
    assert!(format!("{error:#}").contains("transaction.max.timeout.ms"), "{error:#}");
    assert!(begun.elapsed() < Duration::from_secs(40));
}

/// When a transaction fails, librdkafka gives up the records that wait to be sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_says_why_its_records_were_given_up() {
    const ADD_PARTITIONS_TO_TXN: i16 = 24;
    for (code, kind, name) in
        [(29, ErrorKind::Transaction, "TOPIC_AUTHORIZATION_FAILED"), (90, ErrorKind::Fenced, "_FENCED")]
    {
        let topic = format!("given-up-{code}");
        let mock = MockCluster::start(1).unwrap();
        mock.create_topic(&topic, 1).unwrap();
        let config = KafkaSinkConfig::exactly_once(mock.bootstrap(), &*topic, &*topic);
        let sink = KafkaSink::<u32>::new(config).await.unwrap();
        sink.begin_transaction().await.unwrap();
        mock.fail_requests(ADD_PARTITIONS_TO_TXN, &[code]);
        let error = sink.send(1).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:#}");
        assert!(error.message().contains(name) && !error.message().contains("no answer within"), "{error}");
        assert!(faults(&error).is_empty(), "{:?}", faults(&error));
        if kind == ErrorKind::Transaction {
            sink.abort_transaction().await.unwrap();
            sink.begin_transaction().await.unwrap();
            sink.send(2).await.unwrap();
            sink.commit_transaction().await.unwrap();
        }
    }
}

/// The answer arrives a moment before the record's room is free again; `flush` must not need a timer to wait for that.
#[test]
fn a_flush_after_the_last_answer_needs_no_timer() {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("timer", 1).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = KafkaSinkConfig { brokers: mock.bootstrap().into(), topic: "timer".into(), ..Default::default() };
    let sink = runtime.block_on(KafkaSink::<u32>::new(config)).unwrap();
    let without_timer = tokio::runtime::Builder::new_current_thread().build().unwrap();
    without_timer.block_on(async {
        for n in 0..300 {
            sink.send(n).await.unwrap();
            sink.flush().await.unwrap();
        }
        sink.close().await.unwrap();
    });
}
