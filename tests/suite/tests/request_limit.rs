//! Records above the brokers' `socket.request.max.bytes` are refused if the brokers show that limit. Against a real
//! Apache Kafka. It is its own binary because it reads the log of the process.
#![allow(clippy::unwrap_used)] // a test may fail

use std::fmt::{self, Write as _};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use kafka_tower::{ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, SinkMessage};
use kafka_tower_core::Record;
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_testkit::kafka::proxy::ApiKey;
use kafka_tower_testkit::kafka::{Cluster, Listener, Resource};
use tokio::sync::Notify;
use tower::Service as _;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Enough time even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const DESCRIBE_CONFIGS: ApiKey = ApiKey(32);

/// The transport's log lines about its requests for the limit.
#[derive(Default)]
struct Answers {
    lines: Mutex<Vec<String>>,
    more: Notify,
}

struct Lines;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("kafka_tower_rdkafka::request_limit") {
            let mut line = Text::default();
            event.record(&mut line);
            answers().lines.lock().unwrap().push(line.0);
            answers().more.notify_waiters();
        }
    }
}

#[derive(Default)]
struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

fn answers() -> &'static Answers {
    static ANSWERS: OnceLock<Answers> = OnceLock::new();
    ANSWERS.get_or_init(|| {
        tracing_subscriber::registry().with(Lines).init();
        Answers::default()
    })
}

impl Answers {
    /// Waits until the transport has logged this text so often.
    async fn wait_for(&self, text: &str, times: usize) {
        let wait = async {
            loop {
                let more = self.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                if self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count() >= times {
                    return;
                }
                more.await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("not {times} times {text:?}: {:?}", self.lines.lock().unwrap());
        }
    }
}

fn config(brokers: String, topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig { brokers, topic: topic.into(), compression_type: "none".into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_above_the_limit_of_the_brokers_is_refused_before_it_is_sent() {
    answers();
    let started = Cluster::builder().listener(Listener::Proxy).property("socket.request.max.bytes", "102400").start();
    let Some(kafka) = started.await.unwrap() else { return };
    let (topic, proxy) = (kafka.topic("limit", 1).await.unwrap(), kafka.proxy().unwrap());
    let brokers = kafka.bootstrap_of(Listener::Proxy).unwrap();
    // With compression, the size on the wire is not known.
    let compressing = KafkaSinkConfig { compression_type: "snappy".into(), ..config(brokers.clone(), &topic) };
    let compressing = KafkaSink::<String>::new(compressing).await.unwrap();
    compressing.send("x".repeat(200_000)).await.unwrap();
    assert_eq!(proxy.requests(DESCRIBE_CONFIGS), 0);
    compressing.close().await.unwrap();

    let sink = KafkaSink::<String>::new(config(brokers.clone(), &topic)).await.unwrap();
    sink.send("small".to_string()).await.unwrap();
    answers().wait_for("known=Limit(102400,", 1).await;
    let counts = || [ApiKey::API_VERSIONS, ApiKey::PRODUCE].map(|key| proxy.requests(key));
    let before = counts();
    for _ in 0..3 {
        let error = sink.send("x".repeat(102_400)).await.unwrap_err();
        let facts = (error.kind(), error.persistence());
        assert_eq!(facts, (ErrorKind::RecordTooLarge, Persistence::NotPersisted), "{error:#}");
        assert!(error.to_string().contains("socket.request.max.bytes=102400"), "{error:#}");
    }
    assert_eq!(counts(), before, "no connection and no request");
    // Below the limit nothing is refused.
    sink.send("x".repeat(100_000)).await.unwrap();
    // A restarted broker may have another limit.
    proxy.cut();
    answers().wait_for("known=Limit(102400,", 2).await;
    let error = sink.send(SinkMessage::new("x".repeat(200_000))).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
    assert_eq!(sink.control().generation(), 0);
    sink.close().await.unwrap();

    // Key, value and headers all count. The same limit applies to isolated records.
    let mut transport =
        RdkafkaTransport::builder().property("bootstrap.servers", brokers).topic(&topic).connect().await.unwrap();
    answers().wait_for("known=Limit(102400,", 3).await;
    for isolated in [false, true] {
        let mut record = Record::new(topic.as_str()).with_key(vec![0; 60_000]).with_value(vec![0; 60_000]);
        record.isolated = isolated;
        let error = transport.call(record).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error:#}");
        assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
    }
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 3);
}

/// Without the right to see the limit, a record above it fails because its connection is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_do_not_show_their_limit_close_the_connection() {
    answers();
    let started =
        Cluster::builder().listener(Listener::SaslPlaintext).acl().property("socket.request.max.bytes", "204800");
    let Some(kafka) = started.start().await.unwrap() else { return };
    kafka.create_topic("limit", 1, &[]).await.unwrap();
    kafka.allow("User:bob", Resource::Topic("limit"), &["WRITE"]).await.unwrap();
    let config = config(kafka.bootstrap_of(Listener::SaslPlaintext).unwrap(), "limit")
        .with_property("security.protocol", "sasl_plaintext")
        .with_property("sasl.mechanism", "SCRAM-SHA-512")
        .with_property("sasl.username", "bob")
        .with_property("sasl.password", "bob-secret");
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    sink.send("small".to_string()).await.unwrap();
    answers().wait_for("known=Never", 1).await;
    let error = sink.send("x".repeat(300_000)).await.unwrap_err();
    let facts = (error.kind(), error.persistence());
    assert_eq!(facts, (ErrorKind::RecordTooLarge, Persistence::PossiblyPersisted), "{error:#}");
    assert_eq!(sink.control().generation(), 1);
    sink.send("small".to_string()).await.unwrap();
    sink.close().await.unwrap();
}
