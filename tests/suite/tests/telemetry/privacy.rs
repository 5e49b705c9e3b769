//! Puts a secret into every property, key, value, header and foreign error, and checks that no exported or logged text
//! contains it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kafka_tower::layers::telemetry::Telemetry;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::rdkafka::MockCluster;
use kafka_tower::{
    BoxError, Control, Delivery, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, Partitioner, Persistence,
    Record, SinkMessage,
};
use kafka_tower_testkit::Random;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use serde::{Serialize, Serializer};
use tower::Service;
use tower::util::MapErrLayer;

use crate::support::*;

/// The secrets, and where each was put.
#[derive(Clone, Debug)]
struct Secret(String);

impl Secret {
    fn new() -> Self {
        let mut random = Random::new();
        Self(format!("S3CR3T{:08x}{:08x}", random.below(1 << 31), random.below(1 << 31)))
    }

    fn at(&self, place: &str) -> String {
        format!("{}at-{place}", self.0)
    }

    /// Returns the lines of a text that contain a secret.
    fn hits<'a>(&self, text: &'a str) -> Vec<&'a str> {
        text.lines().filter(|line| line.contains(&self.0)).collect()
    }
}

/// Captures all log lines of all threads at all levels.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn everything() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only global subscriber of this process");
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A value that contains a secret, and that may fail to encode.
#[derive(Clone)]
struct Value {
    secret: String,
    fails: bool,
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.fails {
            return Err(serde::ser::Error::custom(format!("{} cannot be encoded", self.secret)));
        }
        serializer.serialize_str(&self.secret)
    }
}

fn message(secret: &Secret) -> SinkMessage<Value> {
    SinkMessage::new(Value { secret: secret.at("value"), fails: false })
        .with_key(secret.at("key"))
        .with_header("token", secret.at("header"))
        .with_header("baggage", format!("token={}", secret.at("baggage-header")))
}

/// A third party's transport that puts secrets into its errors.
#[derive(Clone)]
struct Careless {
    secret: Secret,
    kind: Option<ErrorKind>,
}

impl Service<Record> for Careless {
    type Response = Delivery;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Delivery, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        let source: BoxError = format!("{} {:?}", self.secret.at("source"), record.value).into();
        let error = match self.kind {
            Some(kind) => Error::new(kind, "no").with_persistence(Persistence::NotPersisted).with_source(source),
            None => Error::from(source),
        };
        Box::pin(std::future::ready(Err(error)))
    }
}

struct Leaky(Secret);

impl Partitioner for Leaky {
    fn partition(&self, _: &Record, _: u32) -> Option<i32> {
        let _ = &self.0;
        Some(99)
    }
}

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig {
        topic: "orders".into(),
        send_timeout_ms: 1_000,
        base_backoff_ms: 1,
        circuit_breaker_threshold: 2,
        ..Default::default()
    }
}

/// Sends one message, one batch and one stream.
async fn all_ways(sink: &KafkaSink<Value>, secret: &Secret) {
    let _ = sink.send(message(secret)).await;
    let _ = sink.send(SinkMessage::new(Value { secret: secret.at("unencoded"), fails: true })).await;
    let _ = sink.send_batch((0..3).map(|_| message(secret))).await;
    let _: Vec<_> = sink.send_stream(stream::iter((0..3).map(|_| message(secret)))).collect().await;
    let _ = sink.send(message(secret).with_topic("no topic/at all")).await;
    let _ = sink.send(message(secret).with_partition(77)).await;
    let _ = sink.send(message(secret).with_header("bad\0name", "x")).await;
    let _ = sink.send(SinkMessage::new(Value { secret: secret.at("large").repeat(60_000), fails: false })).await;
}

async fn in_memory(telemetry: &Telemetry, secret: &Secret) {
    let kinds = [
        ErrorKind::Rejected,
        ErrorKind::RecordTooLarge,
        ErrorKind::UnknownTopicOrPartition,
        ErrorKind::Authorization,
        ErrorKind::Authentication,
        ErrorKind::Connection,
        ErrorKind::Timeout,
        ErrorKind::Broker,
        ErrorKind::Throttled,
        ErrorKind::Overloaded,
        ErrorKind::Closed,
        ErrorKind::Fenced,
        ErrorKind::Transaction,
        ErrorKind::Fatal,
        ErrorKind::Unknown,
    ];
    for kind in kinds.into_iter().map(Some).chain([None]) {
        let control: Arc<dyn Control> = MemoryKafka::new().transport().control();
        let builder = KafkaSink::<Value>::builder(config()).telemetry(telemetry.clone());
        let transport = Careless { secret: secret.clone(), kind };
        let sink = builder.transport((transport, control)).build().await.unwrap();
        all_ways(&sink, secret).await; // the breaker opens in the end
    }

    let kafka = MemoryKafka::new().with_topic("orders", 2);
    let builder = KafkaSink::<Value>::builder(config()).telemetry(telemetry.clone());
    all_ways(&builder.transport(kafka.transport()).build().await.unwrap(), secret).await;

    let transport = kafka.transport_with(Limits { records: 2, bytes: 1 << 20 });
    let layer = MapErrLayer::new({
        let secret = secret.clone();
        move |error: Error| BoxError::from(format!("{}: {error}", secret.at("layer")))
    });
    let sink = KafkaSink::<Value>::builder(config())
        .telemetry(telemetry.clone())
        .transport(transport)
        .layer(layer)
        .partitioner(Leaky(secret.clone()))
        .build()
        .await
        .unwrap();
    all_ways(&sink, secret).await;
    sink.circuit_breaker().unwrap().reset();

    // No room, dropped, closed.
    let hold = kafka.script().hold();
    let mut sends: Vec<_> = (0..2).map(|_| Box::pin(sink.send(message(secret).with_partition(0)))).collect();
    for send in &mut sends {
        assert!(futures_util::poll!(send).is_pending());
    }
    sink.send(message(secret)).await.unwrap_err();
    drop(sends);
    hold.release();
    let _ = sink.close().await;
    sink.send(message(secret)).await.unwrap_err();
    drop(format!("{sink:?}"));
}

/// All properties of librdkafka that may contain a secret text, and invalid fields.
async fn of_properties(mock: &MockCluster, telemetry: &Telemetry, secret: &Secret) {
    // Not `sasl.kerberos.principal`, which is a name that librdkafka's `debug` shows.
    const SECRET: [&str; 12] = [
        "sasl.password",
        "sasl.username",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.client.id",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.scope",
        "sasl.oauthbearer.extensions",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.certificate.pem",
        "ssl.ca.pem",
        "ssl.keystore.password",
    ];
    for name in SECRET.into_iter().chain(["sasl.pasword", "batch.num.messages", "acks", "nonsense"]) {
        for protocol in ["plaintext", "sasl_plaintext", "sasl_ssl"] {
            let config = KafkaSinkConfig { brokers: mock.bootstrap().into(), ..config() };
            let config = config
                .with_property("security.protocol", protocol)
                .with_property("debug", "all")
                .with_property("sasl.mechanisms", if name.contains("oauth") { "OAUTHBEARER" } else { "PLAIN" })
                .with_property(name, secret.at(name));
            drop(config.warnings());
            let builder = KafkaSink::<Value>::builder(config).telemetry(telemetry.clone()).connect_check(false);
            if let Ok(sink) = builder.build().await {
                let deadline = tokio::time::Instant::now() + Duration::from_millis(50);
                let _ = sink.send(message(secret).with_deadline(deadline)).await;
                let _ = sink.close_within(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Sends that a broker refuses.
async fn of_the_broker(mock: &MockCluster, telemetry: &Telemetry, secret: &Secret) {
    let config = KafkaSinkConfig { brokers: mock.bootstrap().into(), enable_idempotence: false, ..config() };
    let config = config.with_property("debug", "all").with_property("statistics.interval.ms", "20");
    for code in [-1, 2, 3, 6, 7, 10, 17, 19, 29, 32, 42, 56, 58, 74, 87, 89, 999] {
        let sink = KafkaSink::<Value>::builder(config.clone()).telemetry(telemetry.clone()).build().await.unwrap();
        mock.fail_produce(&[code; 4]);
        let _ = sink.send(message(secret)).await;
        let _ = sink.send_batch((0..2).map(|_| message(secret))).await;
        mock.fail_produce(&[]);
        let _ = sink.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_exported_or_logged() {
    let secret = Secret::new();
    let log = Log::everything();
    let backend = Backend::new();
    let propagator = TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]);
    let telemetry = backend.builder().propagator(propagator).build();
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("orders", 1).unwrap();

    let all = async {
        in_memory(&telemetry, &secret).await;
        of_the_broker(&mock, &telemetry, &secret).await;
        of_properties(&mock, &telemetry, &secret).await;
    };
    let baggage = Context::current_with_baggage([KeyValue::new("token", secret.at("baggage"))]);
    opentelemetry::trace::FutureExt::with_context(all, baggage).await;

    let spans = backend.spans();
    let types: std::collections::BTreeSet<_> = spans.iter().filter_map(|span| attribute(span, "error.type")).collect();
    for expected in ["serialization", "record_too_large", "circuit_open", "timeout", "closed", "abandoned"] {
        assert!(types.contains(expected), "no span of {expected}: {types:?}");
    }
    assert!(types.contains("TOPIC_AUTHORIZATION_FAILED") && types.len() > 25, "{types:?}");
    let (metrics, log) = (format!("{:#?}", backend.exported()), log.text());
    assert!(
        log.contains("sending a record again") && log.contains("the circuit breaker opened"),
        "the captured log is incomplete"
    );
    assert!(metrics.contains("messaging.client.operation.duration"));
    for (what, text) in [("a span", format!("{spans:#?}")), ("a metric", metrics), ("the log", log)] {
        let hits = secret.hits(&text);
        assert!(hits.is_empty(), "{what} shows a secret, {} times: {:#?}", hits.len(), &hits[..hits.len().min(10)]);
    }
}
