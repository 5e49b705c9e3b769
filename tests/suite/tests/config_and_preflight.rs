//! Configurations from the environment and from files, and `preflight`: against the mock cluster, no broker, and a real Kafka.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::{Duration, Instant};

use kafka_tower::rdkafka::{MockCluster, RdkafkaTransport};
use kafka_tower::{ErrorKind, KafkaSink, KafkaSinkConfig, preflight};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Listener, Resource};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn config(brokers: &str, topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig { brokers: brokers.to_owned(), topic: topic.to_owned(), ..Default::default() }
}

/// Names of secret settings, correct and misspelt ones, and of settings that are not texts and therefore not shown
/// whole.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "SASL_PASSWORD", "SASL_USERNAME", "SASL_OAUTHBEARER_CONFIG", "SSL_KEY_PASSWORD", "SSL_KEY_PEM", "SSL_KEYSTORE_PASSWORD",
    "SASL_PASWORD", "SASL_PASSWORDS", "PASSWORD", "SECRET", "SASL_JAAS_CONFIG", "SSL_TRUSTSTORE_PASSWORD", "sasl_password",
    "SASL_PASSWORD_FILE", "SASL_PASWORD_FILE", "SECRET_FILE", "BATCH_SIZE_FILE", "TOPIC_FILE", "SASL_KERBEROS_KINIT_CMD",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_shows_a_secret(
        names in vec(select(NAMES), 0..6),
        secret in "[a-zA-Z0-9/+=-]{4,20}",
        noise in vec(("KAFKA_[A-Z_]{0,20}", "[a-z0-9]{0,3}"), 0..3),
    ) {
        let secret = format!("S3{secret}");
        let vars = names.iter().map(|name| (format!("KAFKA_{name}"), secret.clone())).chain(noise);
        match config("localhost:9092", "orders").with_vars("KAFKA_", vars) {
            Ok(config) => {
                let shown = format!("{config:?} {:?} {:?}", config.conflicts(), config.warnings());
                prop_assert!(!shown.contains(&secret), "{shown}");
            }
            Err(error) => {
                let shown = format!("{error} {error:#} {error:?}");
                prop_assert!(!shown.contains(&secret), "{shown}");
                prop_assert_eq!(error.kind(), ErrorKind::Config);
            }
        }
    }
}

#[test]
fn a_secret_may_come_from_a_file() {
    let path = std::env::temp_dir().join(format!("kafka-tower-{}", std::process::id()));
    std::fs::write(&path, "hunter2\n").unwrap();
    let vars = [("APP_SASL_PASSWORD_FILE", path.clone().into_os_string())];
    let config = KafkaSinkConfig::default().with_vars("APP_", vars.clone());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(config.unwrap().properties["sasl.password"], "hunter2");
    let error = KafkaSinkConfig::default().with_vars("APP_", vars).unwrap_err();
    assert!(error.message().contains("APP_SASL_PASSWORD_FILE: its file cannot be read"), "{error}");
}

/// The environment of the test process sets none of the variables, so the defaults apply.
#[test]
fn the_environment_is_read() {
    let prefix = "KAFKA_TOWER_NOBODY_SETS_THIS_";
    assert_eq!(KafkaSinkConfig::from_env_with_prefix(prefix).unwrap(), KafkaSinkConfig::default());
    let path = std::env::var("CARGO_PKG_NAME").unwrap();
    let error = KafkaSinkConfig::from_env_with_prefix("CARGO_PKG_").unwrap_err();
    assert!(error.message().contains("CARGO_PKG_NAME is an unknown setting"), "{error}");
    assert!(!error.message().contains(&path), "no value is shown: {error}");
}

#[tokio::test]
async fn with_conflicts_nothing_connects() {
    let config = KafkaSinkConfig { acks: "1".into(), ..config("localhost:9092", "") };
    let report = preflight(&config.with_property("sasl.password", "hunter2")).await;
    assert!(!report.passed() && report.inspection.is_none() && report.error.is_none());
    assert_eq!((report.conflicts.len(), report.elapsed), (2, Duration::ZERO));
    let shown = report.to_string();
    assert!(shown.contains("  - `topic` is empty: set the topic"), "{shown}");
    assert!(shown.contains("  sasl.password                      ***\n"), "{shown}");
    assert!(!format!("{shown}{report:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_refused_connection_is_in_the_report() {
    let config = KafkaSinkConfig { connect_timeout_ms: 1_500, ..config("127.0.0.1:1", "orders") };
    let begun = Instant::now();
    let report = preflight(&config).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!report.passed() && report.inspection.is_none());
    let error = report.error.as_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connection);
    let shown = report.to_string();
    assert!(shown.contains("Connection refused") && shown.contains("  help: check that the broker runs"), "{shown}");
    assert!(shown.ends_with("\nFAILED"), "{shown}");
}

#[tokio::test]
async fn the_mock_cluster() {
    let mock = MockCluster::start(3).unwrap();
    mock.create_topic("orders", 3).unwrap();
    let report = preflight(&config(mock.bootstrap(), "orders")).await;
    let found = report.inspection.as_ref().unwrap_or_else(|| panic!("{report}"));
    assert!(report.passed(), "{report}");
    assert_eq!(found.brokers.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(found.cluster_id.is_some());
    let topic = found.topic.as_ref().unwrap();
    assert_eq!(topic.partitions.iter().map(|partition| partition.id).collect::<Vec<_>>(), [0, 1, 2]);
    // The mock cluster does not support the request.
    assert!(topic.settings.is_err());
    assert!(report.warnings.iter().any(|warning| warning.starts_with("the topic's limits are not known")), "{report}");
}

#[tokio::test]
async fn an_unknown_code_of_a_topic_is_in_the_report() {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("orders", 1).unwrap();
    for (code, text) in [(29, "TOPIC_AUTHORIZATION_FAILED"), (4242, "code 4242")] {
        mock.set_topic_error("orders", code).unwrap();
        let report = preflight(&config(mock.bootstrap(), "orders")).await;
        assert!(report.problems.iter().any(|problem| problem.contains(text)), "{report}");
    }
}

#[tokio::test]
async fn a_real_topic_and_what_it_allows() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("checked", 2).await.unwrap();
    let report = preflight(&config(kafka.bootstrap(), &topic)).await;
    let found = report.inspection.as_ref().unwrap_or_else(|| panic!("{report}"));
    assert!(report.passed() && found.cluster_id.is_some() && found.controller.is_some(), "{report}");
    let seen = found.topic.as_ref().unwrap();
    assert_eq!(seen.partitions.len(), 2);
    assert!(seen.partitions.iter().all(|p| p.leader.is_some() && !p.in_sync.is_empty() && p.error.is_none()));
    let settings = seen.settings.as_ref().unwrap();
    assert_eq!(settings["cleanup.policy"], "delete");
    let shown = report.to_string();
    assert!(shown.contains("  max.message.bytes ") && shown.ends_with("\npassed"), "{shown}");

    let narrow = [("min.insync.replicas", "9"), ("max.message.bytes", "1000"), ("cleanup.policy", "compact")];
    let topic = kafka.topic_with("narrow", 1, &narrow).await.unwrap();
    let report = preflight(&config(kafka.bootstrap(), &topic)).await;
    // A partition with one replica needs no more in sync, whatever min.insync.replicas says: see preflight_verdicts.
    assert!(report.passed(), "{report}");
    assert!(report.warnings.iter().any(|warning| warning.contains("batches of up to 1000 bytes")), "{report}");
    assert!(report.warnings.iter().any(|warning| warning.contains("without a key")), "{report}");
}

#[tokio::test]
async fn preflight_creates_no_topic_and_sends_no_record() {
    let builder = Cluster::builder().property("auto.create.topics.enable", "true");
    let Some(kafka) = builder.start().await.unwrap() else { return };
    for _ in 0..2 {
        let report = preflight(&config(kafka.bootstrap(), "nobody-made-this")).await;
        let found = report.inspection.as_ref().unwrap_or_else(|| panic!("{report}"));
        assert_eq!(found.topic.as_ref().unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition, "{report}");
        // A sink would create it.
        assert!(report.passed() && report.warnings.iter().any(|w| w.contains("auto.create.topics.enable")), "{report}");
    }
    let topic = kafka.topic("checked", 1).await.unwrap();
    assert!(preflight(&config(kafka.bootstrap(), &topic)).await.passed());
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 0);
    // On this cluster, a sink creates it.
    let sink = RdkafkaTransport::builder().property("bootstrap.servers", kafka.bootstrap()).topic("nobody-made-this");
    sink.connect().await.unwrap();
    assert!(preflight(&config(kafka.bootstrap(), "nobody-made-this")).await.passed());
}

#[tokio::test]
async fn preflight_fences_no_producer() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("fenced", 1).await.unwrap();
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), topic.as_str(), format!("{topic}-id"));
    let sink = KafkaSink::<u32>::new(config.clone()).await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(1).await.unwrap();
    let report = preflight(&config).await;
    assert!(report.passed(), "{report}");
    sink.send(2).await.unwrap();
    sink.commit_transaction().await.unwrap();
    sink.close().await.unwrap();
}

#[tokio::test]
async fn rights_and_passwords() {
    let builder = Cluster::builder().listener(Listener::SaslPlaintext).acl();
    let Some(kafka) = builder.start().await.unwrap() else { return };
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    let login = |user: &str, password: &str| {
        config(&kafka.bootstrap_of(Listener::SaslPlaintext).unwrap(), "orders")
            .with_property("security.protocol", "sasl_plaintext")
            .with_property("sasl.mechanism", "SCRAM-SHA-512")
            .with_property("sasl.username", user)
            .with_property("sasl.password", password)
    };
    let report = preflight(&login("alice", "alice-secret")).await;
    assert!(report.passed(), "{report}");
    assert!(!format!("{report}{report:?}").contains("alice"), "{report}");

    let report = preflight(&login("alice", "not-the-password")).await;
    assert_eq!(report.error.as_ref().unwrap().kind(), ErrorKind::Authentication, "{report}");
    assert!(!format!("{report}{report:?}").contains("not-the-password"));

    let report = preflight(&login("bob", "bob-secret")).await;
    assert!(!report.passed() && report.error.is_none(), "{report}");
    assert!(report.problems.iter().any(|problem| problem.contains("TOPIC_AUTHORIZATION_FAILED")), "{report}");
    // May write, but not see the settings.
    kafka.allow("User:bob", Resource::Topic("orders"), &["WRITE"]).await.unwrap();
    let report = preflight(&login("bob", "bob-secret")).await;
    assert!(report.passed(), "{report}");
    assert!(report.warnings.iter().any(|warning| warning.contains("DESCRIBE_CONFIGS")), "{report}");
}
