//! Compares the texts of conflicts, warnings and errors with the files in `snapshots/`.
//!
//! Under each heading stands the error as `{}`, and as `{:#}` where that differs. Times are `TIME`, addresses of mock brokers `BROKER`.
//! `KAFKA_TOWER_BLESS=1` rewrites the files; read the difference before you commit it.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::rdkafka::MockCluster;
use kafka_tower::{Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, SinkMessage, Timestamp};

/// The snapshot file of a test.
#[derive(Default)]
struct Texts(String);

impl Texts {
    #[track_caller]
    fn error(&mut self, heading: &str, error: &Error) {
        kafka_tower_test_texts::assert_consistent(error);
        self.plain_and_alternate(heading, normal(&error.to_string()), normal(&format!("{error:#}")));
    }

    fn plain_and_alternate(&mut self, heading: &str, plain: String, alternate: String) {
        let alternate = Some(alternate).filter(|alternate| *alternate != plain);
        self.lines(heading, [plain].into_iter().chain(alternate));
    }

    fn lines(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        writeln!(self.0, "## {heading}").unwrap();
        lines.into_iter().for_each(|line| writeln!(self.0, "{line}").unwrap());
        self.0.push('\n');
    }

    #[track_caller]
    fn are(&self, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(file);
        if std::env::var_os("KAFKA_TOWER_BLESS").is_some() {
            std::fs::write(path, &self.0).unwrap();
            return;
        }
        let kept = std::fs::read_to_string(path).unwrap();
        let sections = |text: &str| -> BTreeMap<String, String> {
            let split = |section: &str| section.split_once('\n').map(|(a, b)| (a.to_owned(), b.trim_end().to_owned()));
            text.split("## ").filter_map(split).collect()
        };
        let (kept, now) = (sections(&kept), sections(&self.0));
        for heading in kept.keys().chain(now.keys()) {
            assert_eq!(now.get(heading), kept.get(heading), "{heading}: KAFKA_TOWER_BLESS=1 accepts the left text");
        }
    }
}

/// Replaces whatever differs from run to run.
fn normal(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let is_number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
        let unit = word.trim_end_matches([':', ';', ',']);
        let number = unit.trim_end_matches(|c: char| c.is_alphabetic() || c == 'µ');
        let end = &word[unit.len()..];
        let last = words.last().map(String::as_str).unwrap_or_default();
        if matches!(unit, "s" | "ms") && is_number(last) {
            words.pop();
            words.push(format!("TIME{end}"));
        } else if is_number(number) && matches!(&unit[number.len()..], "s" | "ms" | "µs" | "ns") {
            words.push(format!("TIME{end}"));
        } else if let Some((before, after)) = word.split_once("127.0.0.1:") {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            let own = after.len() - rest.len() > 1;
            words.push(if own { format!("{before}BROKER{rest}") } else { word.to_owned() });
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "orders".into(), max_retries: 0, enable_circuit_breaker: false, ..Default::default() }
}

type Spoil = fn(&mut KafkaSinkConfig);

#[test]
#[rustfmt::skip]
fn fields() {
    let cases: &[(&str, Spoil)] = &[
        ("no brokers", |c| c.brokers.clear()),
        ("a URL", |c| c.brokers = "kafka://user:secret@kafka-1:9092".into()),
        ("no port", |c| c.brokers = "kafka-1:9092,kafka-2:kafka".into()),
        ("no topic", |c| c.topic.clear()),
        ("a bad topic", |c| c.topic = "orders of today".into()),
        ("a long client id", |c| c.client_id = "x".repeat(40_000)),
        ("nothing in a batch", |c| c.batch_size = 0),
        ("too much in a batch", |c| c.batch_size = 2_000_000),
        ("a long wait for a batch", |c| c.linger_ms = 30_000),
        ("no memory", |c| c.buffer_memory = 0),
        ("an unknown compression", |c| c.compression_type = "brotli".into()),
        ("unknown acks", |c| c.acks = "quorum".into()),
        ("acks against idempotence", |c| c.acks = "1".into()),
        ("transactions without an id", |c| c.enable_transactions = true),
        ("transactions without idempotence", |c| { c.enable_transactions = true; c.enable_idempotence = false; c.transactional_id = Some("a".into()) }),
        ("a send longer than its transaction", |c| { *c = KafkaSinkConfig::exactly_once("a", "t", "id"); c.send_timeout_ms = 120_000 }),
        ("all at once", |c| { c.brokers.clear(); c.acks = "1".into(); c.batch_size = 0; c.properties = [("lingr.ms".into(), "5".into()), ("retries".into(), "0".into())].into() }),
    ];
    let mut texts = Texts::default();
    for (heading, spoil) in cases {
        let mut config = config();
        spoil(&mut config);
        texts.error(heading, &config.validate().unwrap_err());
    }
    texts.are("fields.txt");
}

#[test]
#[rustfmt::skip]
fn properties() {
    let cases: &[&[(&str, &str)]] = &[
        &[("lingr.ms", "5")],
        &[("sasl.pasword", "secret")],
        &[("KAFKA_SECURITY_PROTOCOL", "ssl")],
        &[("linger.ms", "5")],
        &[("batch_size", "5")],
        &[("buffer.memory", "5")],
        &[("ssl.truststore.location", "a.jks")],
        &[("ssl.protocol", "TLSv1.3")],
        &[("group.id", "g")],
        &[("error_cb", "f")],
        &[("delivery.report.only.error", "true")],
        &[("hunter2", "sasl.password")],
        &[("nonsense", "5")],
        &[("socket.timeout.ms", "5ms")],
        &[("socket.timeout.ms", "1")],
        &[("socket.keepalive.enable", "maybe")],
        &[("security.protocol", "tls")],
        &[("partitioner", "murmur3")],
        &[("delivery.timeout.ms", "0"), ("message.timeout.ms", "0")],
        &[("retries", "0")],
        &[("queuing.strategy", "lifo")],
        &[("reconnect.backoff.ms", "60000")],
        &[("security.protocol", "sasl_ssl")],
        &[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "SCRAM-SHA-512")],
        &[("sasl.mechanism", "GSSAPI")],
        &[("sasl.oauthbearer.method", "oidc")],
        &[("ssl.key.location", "key.pem")],
        &[("ssl.ca.pem", "/etc/ca.pem")],
        &[("ssl.keystore.location", "a.p12")],
    ];
    let mut texts = Texts::default();
    for pairs in cases {
        let set = |config: KafkaSinkConfig, (name, value): &(&str, &str)| config.with_property(*name, *value);
        let heading: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        texts.error(&heading.join(" "), &pairs.iter().fold(config(), set).validate().unwrap_err());
    }
    texts.are("properties.txt");
}

#[test]
#[rustfmt::skip]
fn warnings() {
    let set = |name: &str, value: &str| config().with_property(name, value);
    let sasl = |mechanism: &str| set("security.protocol", "sasl_plaintext").with_property("sasl.mechanism", mechanism);
    let cases = [
        ("high throughput", KafkaSinkConfig::high_throughput("a", "t")),
        ("acks=0", KafkaSinkConfig { acks: "0".into(), enable_idempotence: false, ..config() }),
        ("an unused id", KafkaSinkConfig { transactional_id: Some("a".into()), ..config() }),
        ("a finite time-out", set("delivery.timeout.ms", "30000")),
        ("a long transaction", KafkaSinkConfig::exactly_once("a", "t", "id").with_property("transaction.timeout.ms", "3600000")),
        ("a transaction without end", KafkaSinkConfig::exactly_once("a", "t", "id").with_property("message.timeout.ms", "0")),
        ("an unused transaction time-out", set("transaction.timeout.ms", "5000")),
        ("a password in the clear", sasl("PLAIN")),
        ("a token in the clear", sasl("OAUTHBEARER")),
        ("an unused password", set("sasl.password", "secret")),
        ("an unused certificate", set("ssl.ca.location", "ca.pem")),
        ("no verification", set("security.protocol", "ssl").with_property("enable.ssl.certificate.verification", "false")),
        ("no check of the name", set("security.protocol", "ssl").with_property("ssl.endpoint.identification.algorithm", "none")),
        ("unsigned tokens", set("enable.sasl.oauthbearer.unsecure.jwt", "true")),
        ("a line break", set("security.protocol", "ssl").with_property("ssl.key.password", "secret\n")),
    ];
    let mut texts = Texts::default();
    for (heading, config) in cases {
        texts.lines(heading, config.warnings());
    }
    texts.are("warnings.txt");
}

fn message(value: &str) -> SinkMessage<String> {
    SinkMessage::new(value.to_owned()).with_key("key")
}

#[tokio::test(start_paused = true)]
async fn sends_through_memory() {
    let mut texts = Texts::default();
    let kafka = MemoryKafka::new().with_topic("orders", 2);
    let limits = Limits { records: 1, bytes: 100 };
    let sink = KafkaSink::<String>::builder(config()).transport(kafka.transport_with(limits)).build().await.unwrap();
    let large = sink.send(message(&"x".repeat(200))).await.unwrap_err();
    texts.error("larger than the whole limit", &large);
    texts.error("a negative partition", &sink.send(message("x").with_partition(-1)).await.unwrap_err());
    texts.error("a partition that is none", &sink.send(message("x").with_partition(99)).await.unwrap_err());
    texts.error("a bad topic name", &sink.send(message("x").with_topic("bad topic!")).await.unwrap_err());
    texts.error("an unknown topic", &sink.send(message("x").with_topic("nowhere")).await.unwrap_err());
    let tomorrow = Timestamp::from_millis(i64::MAX);
    texts.error("a timestamp ahead", &sink.send(message("x").with_timestamp(tomorrow)).await.unwrap_err());

    let hold = kafka.script().hold();
    let (held, parked) = tokio::join!(sink.send(message("held")), sink.send(message("parked")));
    texts.error("handed over when the time is up", &held.unwrap_err());
    texts.error("no room until the time is up", &parked.unwrap_err());
    texts.error("closed with records in flight", &sink.close_within(Duration::from_secs(1)).await.unwrap_err().into());
    drop(hold);
    texts.error("closed", &sink.send(message("x")).await.unwrap_err());

    let breaker = KafkaSinkConfig { enable_circuit_breaker: true, circuit_breaker_threshold: 1, ..config() };
    let sink = KafkaSink::<String>::builder(breaker).transport(kafka.transport()).build().await.unwrap();
    kafka.script().fail(Error::new(ErrorKind::Broker, "the broker is busy"));
    texts.error("what opens the circuit breaker", &sink.send(message("x")).await.unwrap_err());
    texts.error("an open circuit breaker", &sink.send(message("x")).await.unwrap_err());

    let sink = KafkaSink::<BTreeMap<(u8, u8), u8>>::builder(config());
    let sink = sink.transport(kafka.transport()).build().await.unwrap();
    texts.error("a value that is no JSON", &sink.send(BTreeMap::from([((1, 2), 3)])).await.unwrap_err());
    texts.error("a transaction without transactions", &sink.begin_transaction().await.unwrap_err());
    texts.are("memory.txt");
}

fn mocked(cluster: &MockCluster) -> KafkaSinkConfig {
    KafkaSinkConfig { brokers: cluster.bootstrap().to_owned(), ..config() }
}

#[tokio::test]
async fn sends_through_librdkafka() {
    let mut texts = Texts::default();
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("orders", 1).unwrap();
    let limited = KafkaSinkConfig { buffer_memory: 5000, ..mocked(&cluster) };
    let sink = KafkaSink::<String>::new(limited.with_property("message.max.bytes", "2000")).await.unwrap();
    texts.error("larger than the whole limit", &sink.send(message(&"x".repeat(6000))).await.unwrap_err());
    texts.error("larger than the client's limit", &sink.send(message(&"x".repeat(3000))).await.unwrap_err());
    texts.error("a negative partition", &sink.send(message("x").with_partition(-1)).await.unwrap_err());
    texts.error("a partition that is none", &sink.send(message("x").with_partition(99)).await.unwrap_err());
    texts.error("a bad topic name", &sink.send(message("x").with_topic("bad topic!")).await.unwrap_err());
    // An error that another record of the batch may have caused: the record is sent alone once, and refused again. The
    // last code must stay the last: librdkafka remembers it for the topic.
    for codes in [&[10, 10][..], &[87, 87], &[200], &[29]] {
        cluster.fail_produce(codes);
        texts.error(&format!("code {}", codes[0]), &sink.send(message("x")).await.unwrap_err());
    }
    sink.close().await.unwrap();
    texts.error("closed", &sink.send(message("x")).await.unwrap_err());

    // A slow broker, and room for two records.
    cluster.set_round_trip(1, Duration::from_secs(3)).unwrap();
    let low = KafkaSinkConfig { send_timeout_ms: 400, max_retries: 0, ..KafkaSinkConfig::low_latency("", "orders") };
    let low = KafkaSinkConfig { brokers: cluster.bootstrap().to_owned(), enable_circuit_breaker: false, ..low };
    let sink = KafkaSink::<String>::builder(low).connect_check(false).build().await.unwrap();
    let (first, second, third) =
        tokio::join!(sink.send(message("1")), sink.send(message("2")), sink.send(message("3")));
    let first = first.unwrap_err();
    assert_eq!(first.to_string(), second.unwrap_err().to_string());
    texts.error("handed over when the time is up", &first);
    texts.error("no room until the time is up", &third.unwrap_err());
    texts.are("librdkafka.txt");
}

#[tokio::test]
async fn connecting() {
    let mut texts = Texts::default();
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("orders", 1).unwrap();
    let at = |brokers: &str| KafkaSinkConfig { brokers: brokers.to_owned(), connect_timeout_ms: 1500, ..config() };
    let error = KafkaSink::<String>::new(at("127.0.0.1:1")).await.unwrap_err();
    texts.error("no broker at the address", &error);
    let error = KafkaSink::<String>::new(at("no-such-host.invalid:9092")).await.unwrap_err();
    // The end of the text comes from the resolver.
    let cut = |line: String| match line.split_once("Failed to resolve 'no-such-host.invalid:9092': ") {
        Some((before, after)) => format!("{before}CAUSE{}", after.find(" [help").map_or("", |at| &after[at..])),
        None => line,
    };
    texts.plain_and_alternate(
        "a name that is none",
        cut(normal(&error.to_string())),
        cut(normal(&format!("{error:#}"))),
    );
    cluster.set_topic_error("orders", 3).unwrap();
    texts.error("an unknown topic", &KafkaSink::<String>::new(mocked(&cluster)).await.unwrap_err());
    cluster.set_topic_error("orders", 29).unwrap();
    texts.error("a topic that may not be seen", &KafkaSink::<String>::new(mocked(&cluster)).await.unwrap_err());
    texts.are("connecting.txt");
}

/// librdkafka reads the first bytes of the answer as a length and advises to raise a limit.
#[tokio::test]
async fn a_peer_that_is_not_kafka() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for peer in listener.incoming() {
            let mut peer = peer.unwrap();
            let mut request = [0; 4];
            if std::io::Read::read_exact(&mut peer, &mut request).is_ok() {
                let _gone = std::io::Write::write_all(&mut peer, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        }
    });
    let http = KafkaSinkConfig { brokers: address, connect_timeout_ms: 2_000, ..config() };
    let error = KafkaSink::<String>::new(http).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
    assert!(error.message().contains("does not speak Kafka: it answers as an HTTP server"), "{error:#}");
    assert!(error.help().starts_with("name Kafka's own listeners in `brokers`"), "{error:#}");
    assert!(!format!("{error:#} {error:?}").contains("receive.message.max.bytes"), "{error:#}");
    kafka_tower_test_texts::assert_consistent(&error);
}
