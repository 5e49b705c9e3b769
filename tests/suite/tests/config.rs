//! Configuration: `validate` never panics, librdkafka accepts whatever it accepts, and no text shows a secret.
#![allow(clippy::unwrap_used)] // a test may fail

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka_tower::rdkafka::RdkafkaTransport;
use kafka_tower::{Error, ErrorKind, KafkaSink, KafkaSinkConfig, SinkMessage};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// Runs a property test. The seed comes from `KAFKA_TOWER_SEED` or else from the clock, and is printed.
#[allow(clippy::print_stdout)]
fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: Debug,
{
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var("KAFKA_TOWER_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
    println!("replay with KAFKA_TOWER_SEED={seed}");
    let bytes = [seed.to_le_bytes(); 4].concat();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    runner.run(strategy, test).unwrap_or_else(|failed| panic!("{failed}"));
}

/// Mostly valid texts, sometimes invalid ones, sometimes arbitrary ones.
fn text(good: &[&str], bad: &[&str]) -> impl Strategy<Value = String> + use<> {
    let of = |all: &[&str]| select(all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    prop_oneof![60 => of(good), 2 => of(bad), 1 => any::<String>()]
}

fn number(good: &[u64]) -> impl Strategy<Value = u64> + use<> {
    prop_oneof![60 => select(good.to_vec()), 1 => select(vec![0, 1, 900_001, 1_000_001, u64::MAX]), 1 => any::<u64>()]
}

/// Valid and invalid values of each kind.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "0", "1", "2", "5", "-1", "100", "999", "1000", "59999", "60000", "60100", "60101", "2147483547", "2147483647",
    "2147483648", "true", "false", "none", "", " ", "5ms", "0x10", "010", "yes", "x", "a\0b", "probe",
];

const FLAGS: &[&str] = &["true", "false", "1"];
const NUMBERS: &[&str] = &["0", "1", "2", "100", "1000", "59999", "60000", "60100", "60101"];

/// Names of properties whose values are flags or numbers.
#[rustfmt::skip]
const PLAIN: &[&str] = &[
    "allow.auto.create.topics", "api.version.fallback.ms", "batch.size", "buffer.memory",
    "connections.max.idle.ms", "delivery.report.only.error", "delivery.timeout.ms", "enable.gapless.guarantee",
    "enable.sasl.oauthbearer.unsecure.jwt", "enable.ssl.certificate.verification", "linger.ms", "lingr.ms",
    "message.max.bytes", "message.send.max.retries", "message.timeout.ms",
    "queue.buffering.backpressure.threshold", "receive.message.max.bytes", "request.timeout.ms", "retries",
    "retry.backoff.max.ms", "retry.backoff.ms", "socket.keepalive.enable", "socket.timeout.ms",
    "ssl.key.password", "ssl.keystore.password", "statistics.interval.ms", "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.interval.ms", "transaction.timeout.ms",
];

/// Names of properties, with values that fit each.
const OWN: &[(&str, &[&str])] = &[
    ("acks", &["all"]),
    ("broker.address.family", &["v4", "V6", "ipv4"]),
    ("broker.version.fallback", &["0.8.2", "0.9.0.1", "2.4.0", "0.7.2"]),
    ("client.dns.lookup", &["use_all_dns_ips"]),
    ("client.rack", &["a"]),
    ("compression.level", &["12", "13"]),
    ("debug", &["all", "broker, topic", "msg,-eos", "everything"]),
    ("enable.metrics.push", &["T"]),
    ("group.id", &["g"]),
    ("partitioner", &["murmur2", "MURMUR2", "consistent_random"]),
    ("queuing.strategy", &["fifo", "lifo"]),
    ("reconnect.backoff.max.ms", &["3600000"]),
    ("reconnect.backoff.ms", &["3600000"]),
    ("sasl.mechanism", &["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER", "GSSAPI", "plain"]),
    ("sasl.mechanisms", &["PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-1"]),
    ("sasl.oauthbearer.config", &["scope=a"]),
    ("sasl.oauthbearer.method", &["oidc", "default"]),
    ("sasl.password", &["p"]),
    ("sasl.username", &["u"]),
    ("security.protocol", &["plaintext", "ssl", "SASL_SSL", "sasl_plaintext", "Sasl_Plaintext"]),
    ("ssl.ca.pem", &["/etc/ca.pem"]),
    ("ssl.endpoint.identification.algorithm", &["https", "none"]),
];

fn property() -> impl Strategy<Value = (String, String)> {
    let plain = PLAIN.iter().map(|name| (*name, if name.contains("enable") { FLAGS } else { NUMBERS }));
    let known = select(plain.chain(OWN.iter().copied()).collect::<Vec<_>>()).prop_flat_map(|(name, own)| {
        let value = prop_oneof![8 => select(own.to_vec()), 1 => select(VALUES.to_vec())].prop_map(str::to_owned);
        (Just(name.to_owned()), prop_oneof![40 => value, 1 => any::<String>()])
    });
    prop_oneof![60 => known, 1 => (any::<String>(), any::<String>())]
}

/// Complete settings for a login: independent random properties would hardly ever make one.
fn login() -> impl Strategy<Value = BTreeMap<String, String>> {
    let protocol = select(vec!["sasl_plaintext", "SASL_SSL"]);
    let mechanism = select(vec!["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]);
    (protocol, mechanism, select(vec!["sasl.mechanism", "sasl.mechanisms"])).prop_map(|(protocol, mechanism, name)| {
        [("security.protocol", protocol), (name, mechanism), ("sasl.username", "u"), ("sasl.password", "p")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    })
}

fn config() -> impl Strategy<Value = KafkaSinkConfig> {
    let texts = (
        text(&["localhost:9092", "a,b:1", "[::1]:9092"], &["", "http://a", "a b", "a:0", "a:x", "::1", "a/b"]),
        text(&["orders"], &["", "a b", "..", "a\0"]),
        text(&["kafka-tower", "", " me"], &["\0", "a\nb"]),
        text(&["none", "gzip", "snappy", "lz4", "zstd"], &["", "LZ4", "brotli"]),
        text(&["all", "-1", "all", "-1", "0", "1"], &["2", "ALL", ""]),
        prop_oneof![1 => Just(None), 9 => text(&["id"], &["", " id", "a\0"]).prop_map(Some)],
    );
    let numbers = (
        number(&[1, 100, 10_000, 1_000_000]),
        number(&[1, 5, 6, 10, 1_000_000]),
        number(&[0, 0, 5, 100, 900, 999]),
        number(&[1000, 30_000, 60_000, 60_001]),
        number(&[1, 1 << 20, 1 << 40]),
        any::<u32>(),
    );
    let login = prop_oneof![3 => Just(BTreeMap::new()), 1 => login()];
    let properties = (login, vec(property(), 0..3));
    (texts, numbers, prop::bool::weighted(0.8), prop::bool::weighted(0.3), properties).prop_map(
        |(texts, numbers, enable_idempotence, enable_transactions, (mut login, properties))| {
            login.extend(properties);
            KafkaSinkConfig {
                brokers: texts.0,
                topic: texts.1,
                client_id: texts.2,
                compression_type: texts.3,
                acks: texts.4,
                transactional_id: texts.5,
                batch_size: numbers.0 as usize,
                max_in_flight_requests: numbers.1 as usize,
                linger_ms: numbers.2,
                send_timeout_ms: numbers.3,
                connect_timeout_ms: numbers.3,
                buffer_memory: numbers.4 as usize,
                circuit_breaker_threshold: numbers.5,
                enable_idempotence,
                enable_transactions,
                properties: login,
                ..Default::default()
            }
        },
    )
}

/// Creates a librdkafka client as a sink does, for an address at which no broker listens.
fn client(config: &KafkaSinkConfig) -> kafka_tower::Result<()> {
    let mut properties = config.librdkafka_properties();
    properties.insert("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned());
    let connect =
        RdkafkaTransport::builder().properties(properties).limits(config.limits(1)).connect_check(false).connect();
    runtime().block_on(connect).map(drop)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn validate_never_panics() {
    run(10_000, &config(), |config| {
        let (answer, conflicts) = (config.validate(), config.conflicts());
        let (_, _, _) = (config.warnings(), config.librdkafka_properties(), config.limits(u32::MAX));
        prop_assert_eq!(answer.is_ok(), conflicts.is_empty());
        if let Err(error) = answer {
            prop_assert_eq!(error.kind(), ErrorKind::Config);
            for conflict in conflicts {
                prop_assert!(error.message().contains(&conflict.to_string()));
                prop_assert!(!conflict.problem.is_empty() && !conflict.cure.is_empty());
                // No text is long, except for lists of the values that librdkafka knows.
                prop_assert!(conflict.problem.len() < 1000, "{}", conflict);
            }
        }
        Ok(())
    });
}

/// Except for files, ciphers, patterns and plug-ins, which only OpenSSL and the system can check.
#[test]
fn what_validate_accepts_librdkafka_accepts() {
    let (accepted, transactional, sasl, start) = (Cell::new(0), Cell::new(0), Cell::new(0), Instant::now());
    let add = |count: &Cell<u32>, one: bool| count.set(count.get() + u32::from(one));
    run(1500, &config(), |config| {
        if config.validate().is_err() {
            return Ok(());
        }
        let answer = client(&config);
        prop_assert!(answer.is_ok(), "{:#}\n{:#?}", answer.unwrap_err(), config.librdkafka_properties());
        add(&accepted, true);
        add(&transactional, config.enable_transactions);
        add(&sasl, config.librdkafka_properties().keys().any(|name| name == "sasl.password"));
        Ok(())
    });
    let counts = (accepted.get(), transactional.get(), sasl.get());
    assert!(counts.0 >= 200 && counts.1 >= 20 && counts.2 >= 20, "too few cases for a conclusion: {counts:?}");
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// Properties that are secrets or may contain secrets, including names that people write by mistake.
const SECRET: &[&str] = &[
    "sasl.jaas.config",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.password",
    "sasl.pasword",
    "sasl.username",
    "sasl_password",
    "sasl.passwort",
    "KAFKA_SASL_PASSWORD",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.key.passphrase",
    "ssl.keystore.key",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "password",
    "secret",
];

#[test]
fn no_text_shows_a_secret() {
    let around = select(vec![("", ""), (" ", "\n"), ("", "\0"), ("-----BEGIN PRIVATE KEY-----\n", ""), ("a=", ",b")]);
    let secrets = prop::sample::subsequence(SECRET, 1..4);
    run(200, &(config(), "[A-Za-z0-9]{16,24}", secrets, around), |(mut config, secret, names, (before, after))| {
        for name in &names {
            config.properties.insert((*name).to_owned(), format!("{before}{secret}{after}"));
        }
        config.brokers = format!("kafka://user:{secret}@a:9092,user:{secret}@b");
        let mut shown = vec![format!("{config:?} {config:#?} {:?} {:?}", config.conflicts(), config.warnings())];
        let mut show = |error: &Error| shown.push(format!("{error} {error:#} {error:?} {error:#?}"));
        if let Err(error) = config.validate() {
            show(&error);
        }
        config.brokers = "127.0.0.1:1".to_owned();
        (config.send_timeout_ms, config.connect_timeout_ms) = (1, 1);
        let built = KafkaSink::<String>::builder(config.clone()).build();
        if let Err(error) = runtime().block_on(built) {
            show(&error);
        }
        // Code paths without `validate`.
        if let Err(error) = client(&config) {
            show(&error);
        }
        let shown = shown.concat();
        prop_assert!(!shown.contains(&secret), "{:?}: {}", names, shown);
        Ok(())
    });
}

/// The cause of a connection error shows no password either. No broker listens at the address.
#[tokio::test]
async fn an_error_of_the_connection_shows_no_secret() {
    const SECRET: &str = "hunter2hunter2";
    let config =
        KafkaSinkConfig { topic: "orders".into(), send_timeout_ms: 300, connect_timeout_ms: 300, ..Default::default() }
            .with_property("security.protocol", "SASL_SSL")
            .with_property("sasl.mechanism", "SCRAM-SHA-512")
            .with_property("sasl.username", "user")
            .with_property("sasl.password", SECRET)
            .with_property("debug", "all");
    let config = KafkaSinkConfig { brokers: "127.0.0.1:1".into(), ..config };
    let error = KafkaSink::<String>::new(config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
    let sink = KafkaSink::<String>::builder(config).connect_check(false).build().await.unwrap();
    let sent = sink.send(SinkMessage::new("x".to_owned())).await.unwrap_err();
    for error in [error, sent] {
        let shown = format!("{error} {error:#} {error:?}");
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[test]
fn the_presets_are_accepted() {
    let presets = [
        KafkaSinkConfig::high_throughput("a:9092", "t"),
        KafkaSinkConfig::low_latency("a:9092", "t"),
        KafkaSinkConfig::exactly_once("a:9092", "t", "id"),
    ];
    for preset in presets {
        preset.validate().unwrap();
        client(&preset).unwrap();
    }
}
